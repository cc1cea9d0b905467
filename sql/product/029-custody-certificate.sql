-- The signer puts a migration's certificate together: it alone reads the evidence, and what else there is the saga has noted.
CREATE POLICY signer ON kiff.custody_steps FOR SELECT TO kiff_signing USING (true);
GRANT SELECT ON kiff.custody_steps TO kiff_signing;
REVOKE EXECUTE ON FUNCTION kiff.keep_custody_certificate(text, jsonb) FROM kiff_sealing;
GRANT EXECUTE ON FUNCTION kiff.keep_custody_certificate(text, jsonb) TO kiff_signing;
