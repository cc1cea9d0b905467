-- API keys, managed: who made one, when it was last used, and what a lookup answers.

ALTER TABLE kiff.api_keys
  ADD COLUMN created_by text NOT NULL DEFAULT 'operator' CHECK (length(created_by) BETWEEN 1 AND 64),
  -- To within a minute or so: API processes report it in batches.
  ADD COLUMN last_used_at timestamptz,
  ADD CHECK (length(label) <= 100);

-- The version of a tenant's wallet links (010-wallet-links.sql) comes with every lookup of a key, which is what it is for.
ALTER TABLE kiff.tenants ADD COLUMN links_version integer NOT NULL DEFAULT 0;

-- As before, and: the stored hash (the caller compares it, in constant time), whether the tenant's organisation is gone
-- (a tenant without one is an operator's), and the version of its wallet links.
DROP FUNCTION kiff.find_api_key(bytea);
CREATE FUNCTION kiff.find_api_key(key_hash bytea)
  RETURNS TABLE (key_id text, hash bytea, tenant text, scopes text[], expires_at timestamptz, revoked_at timestamptz,
                 tenant_status text, login_version integer, schema_version integer, log_ordinal integer, frozen_reason text,
                 organisation_deleted boolean, links_version integer)
  LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
  SELECT k.id, k.hash, k.tenant, k.scopes, k.expires_at, k.revoked_at, t.status, t.login_version, t.schema_version,
         l.ordinal, l.frozen_reason, o.deleted_at IS NOT NULL, t.links_version
    FROM kiff.api_keys k
    JOIN kiff.tenants t ON t.id = k.tenant
    LEFT JOIN kiff.logs l ON l.tenant = t.id
    LEFT JOIN kiff.organisations o ON o.tenant = t.id
   WHERE k.hash = key_hash;
END;

-- Keys that were used since the last report. What several processes report at once is taken once.
CREATE FUNCTION kiff.note_keys_used(key_ids text[]) RETURNS void
  LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
  UPDATE kiff.api_keys SET last_used_at = clock_timestamp()
   WHERE id IN (SELECT k.id FROM kiff.api_keys k WHERE k.id = ANY (key_ids)
                   AND (k.last_used_at IS NULL OR k.last_used_at < clock_timestamp() - interval '10 seconds')
                 ORDER BY k.id FOR NO KEY UPDATE SKIP LOCKED);
END;
GRANT EXECUTE ON FUNCTION kiff.find_api_key(bytea), kiff.note_keys_used(text[]) TO kiff_api;
