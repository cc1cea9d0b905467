-- What the custody API reads with a tenant's custody login: whom a session belongs to, the tenant's log, and what its admins
-- have left as evidence, without the tokens and secrets in it.

GRANT EXECUTE ON FUNCTION kiff.find_member(text, text) TO kiff_custody;
-- Own row only (row-level security): who signs, since when.
GRANT SELECT ON kiff.logs TO kiff_custody_logins;

-- Whom a session token says it is of; null of what is no token. Nothing is verified here: that is the signer's.
CREATE FUNCTION kiff.token_subject(token text) RETURNS text
  LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  claims text := translate(split_part(token, '.', 2), '-_', '+/');
BEGIN
  RETURN convert_from(decode(rpad(claims, (length(claims) + 3) / 4 * 4, '='), 'base64'), 'UTF8')::jsonb ->> 'sub';
EXCEPTION WHEN data_exception OR character_not_in_repertoire OR untranslatable_character THEN
  RETURN NULL;
END $$;

-- The session's own tenant's commands of these kinds, in the order in which they came, and what became of each; of one of them
-- when `of_ref` says which. `state` is `pending` until the inbox has looked.
CREATE FUNCTION kiff.own_custody_commands(kinds text[], of_ref text DEFAULT NULL)
  RETURNS TABLE (ref text, kind text, payload jsonb, by_user text, issued_at timestamptz, state text, reason text,
                 changed_at timestamptz)
  LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
  SELECT c.payload ->> 'ref', c.kind, (c.payload - 'token') #- '{webhook,secret}', kiff.token_subject(c.payload ->> 'token'),
         c.issued_at, coalesce(r.state, 'pending'), r.reason, coalesce(r.changed_at, c.issued_at)
    FROM kiff.commands c LEFT JOIN kiff.command_results r ON r.command = c.id
   WHERE c.tenant = kiff.session_tenant() AND c.issuer = 'kiff_c' AND c.kind = ANY (kinds)
     AND (of_ref IS NULL OR c.payload ->> 'ref' = of_ref)
   ORDER BY c.id;
END;
GRANT EXECUTE ON FUNCTION kiff.own_custody_commands(text[], text) TO kiff_custody_logins;
