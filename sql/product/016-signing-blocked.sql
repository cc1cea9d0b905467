-- A log whose key refuses: nothing of it is signed until a person has put the key right; everything else goes on. The signer says
-- so here, once, and takes it back when the key signs again.

ALTER TABLE kiff.logs
  -- activities/signing/blocked.ts has the same words.
  ADD COLUMN signing_blocked text
    CHECK (signing_blocked IN ('kms-refused', 'kms-denied', 'policy-drift', 'foreign-signature')),
  ADD COLUMN signing_blocked_at timestamptz,
  ADD CHECK ((signing_blocked IS NULL) = (signing_blocked_at IS NULL));

-- Answers whether this is news: that signing is blocked, or for another reason than before.
CREATE FUNCTION kiff.block_signing(tenant_id text, reason text) RETURNS boolean
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  UPDATE kiff.logs SET signing_blocked = reason, signing_blocked_at = clock_timestamp()
   WHERE tenant = tenant_id AND signing_blocked IS DISTINCT FROM reason;
  RETURN FOUND;
END $$;

CREATE FUNCTION kiff.unblock_signing(tenant_id text) RETURNS void
  LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
  UPDATE kiff.logs SET signing_blocked = NULL, signing_blocked_at = NULL
   WHERE tenant = tenant_id AND signing_blocked IS NOT NULL;
END;
GRANT EXECUTE ON FUNCTION kiff.block_signing(text, text), kiff.unblock_signing(text) TO kiff_signing;
