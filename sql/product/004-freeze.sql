-- A frozen log: nothing of it is hashed, signed or anchored any more. Each worker that finds a log refused for good may
-- freeze it, which only delays; nobody but the operator's recovery takes a freeze away or ends the log.

ALTER TABLE kiff.logs
  -- A tenant's first log is 1. This row is always the tenant's current log.
  ADD COLUMN ordinal integer NOT NULL DEFAULT 1 CHECK (ordinal >= 1),
  -- protocol/ending.ts has the same words.
  ADD COLUMN frozen_reason text CHECK (frozen_reason IN (
    'record-missing', 'record-altered', 'tile-altered', 'seal-altered', 'root-conflict', 'seal-conflict',
    'statement-conflict', 'not-an-extension', 'database-behind', 'chain-ahead', 'chain-differs', 'final-reorged',
    'clock-ahead', 'signer-lost')),
  ADD COLUMN frozen_at timestamptz,
  ADD CHECK ((frozen_reason IS NULL) = (frozen_at IS NULL));

-- Freezes a tenant's current log. The first reason stands. Answers whether it was this call that froze it.
CREATE FUNCTION kiff.freeze_log(tenant_id text, reason text) RETURNS boolean
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  UPDATE kiff.logs SET frozen_reason = reason, frozen_at = clock_timestamp()
   WHERE tenant = tenant_id AND frozen_reason IS NULL;
  IF FOUND THEN
    RETURN true;
  END IF;
  PERFORM FROM kiff.logs WHERE tenant = tenant_id;
  IF NOT FOUND THEN
    RAISE EXCEPTION USING ERRCODE = 'KF021', MESSAGE = 'no such log';
  END IF;
  RETURN false;
END $$;
GRANT EXECUTE ON FUNCTION kiff.freeze_log(text, text) TO kiff_sealing, kiff_signing, kiff_anchoring;

-- As before, without frozen logs. What already stands in a block is still followed (kiff.seals_to_confirm).
CREATE OR REPLACE FUNCTION kiff.seals_to_anchor(max_seals integer)
  RETURNS TABLE (tenant text, log_id bytea, seq integer, period bigint, tree_size bigint, root bytea, seal_hash bytea, signature bytea)
  LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  l record;
  room integer := max_seals;
  n integer;
BEGIN
  FOR l IN SELECT k.tenant, k.log_id FROM kiff.logs k
            WHERE k.signed_seq > k.included_seq AND k.registered_block IS NOT NULL AND k.frozen_reason IS NULL
            ORDER BY k.signed_seq - k.included_seq, k.tenant LOOP
    EXIT WHEN room <= 0;
    RETURN QUERY EXECUTE format(
      'SELECT $1, $2, s.seq, s.period, s.tree_size, s.root, s.seal_hash, s.signature
         FROM kiff_t_%1$s.seals s
        WHERE s.level = ''sealed'' AND s.seq < coalesce(
          (SELECT min(r.seq) FROM kiff_t_%1$s.seals r WHERE r.level = ''sealed'' AND r.refused IS NOT NULL), 2147483647)
        ORDER BY s.seq LIMIT $3', l.tenant)
      USING l.tenant, l.log_id, room;
    GET DIAGNOSTICS n = ROW_COUNT;
    room := room - n;
  END LOOP;
END $$;

-- The API learns with the key which log is the tenant's current one, and whether it takes records.
DROP FUNCTION kiff.find_api_key(bytea);
CREATE FUNCTION kiff.find_api_key(key_hash bytea)
  RETURNS TABLE (key_id text, tenant text, scopes text[], expires_at timestamptz, revoked_at timestamptz,
                 tenant_status text, login_version integer, schema_version integer, log_ordinal integer, frozen_reason text)
  LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
  SELECT k.id, k.tenant, k.scopes, k.expires_at, k.revoked_at, t.status, t.login_version, t.schema_version,
         l.ordinal, l.frozen_reason
    FROM kiff.api_keys k JOIN kiff.tenants t ON t.id = k.tenant LEFT JOIN kiff.logs l ON l.tenant = t.id
   WHERE k.hash = key_hash;
END;
GRANT EXECUTE ON FUNCTION kiff.find_api_key(bytea) TO kiff_api;
