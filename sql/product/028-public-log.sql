-- The log as anybody's tools read it (C2SP tlog-tiles): checkpoints that are signed, and what they cover. A tenant reads its own
-- logs with its own login; everybody else's questions come with kiff_api, which gets an answer only of tenants that have made
-- their logs public. Bodies, where content lies, are not in it either way, and neither is what no signed checkpoint covers.
-- (Functions, and no grants on tenants' tables: a grant could not be limited to what is published, and no login would be
-- needed that reads all public schemas.)

ALTER TABLE kiff.tenants ADD COLUMN log_public boolean NOT NULL DEFAULT false;

-- Where a log lies that this session may read, and which seal is its last; null where it may not, or there is none. For the
-- functions here. Who asks is the session's login, whatever role it has set.
CREATE FUNCTION kiff.readable_log(tenant_id text, log_ordinal integer, OUT log_schema text, OUT log_id bytea,
                                  OUT last_seq integer)
  LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
  SELECT l.log_schema, l.log_id, l.last_seq
    FROM kiff.tenants t
    JOIN (SELECT c.tenant, c.ordinal, c.log_id, 'kiff_t_' || c.tenant AS log_schema, 16777215 AS last_seq FROM kiff.logs c
          UNION ALL
          -- What was signed behind the last good seal is not published: the end statement says so.
          SELECT e.tenant, e.ordinal, e.log_id, 'kiff_ended_' || e.tenant || '_' || e.ordinal, e.last_seq
            FROM kiff.ended_logs e) l
      ON l.tenant = t.id
   WHERE t.id = tenant_id AND l.ordinal = log_ordinal AND (t.log_public OR t.id = kiff.session_tenant());
END;

-- The newest published checkpoint with its seal, or that of one seal. Published is what carries the operator's signature; the
-- seal is null where the tenant's is not there (yet).
CREATE FUNCTION kiff.published_checkpoint(tenant_id text, log_ordinal integer, wanted integer)
  RETURNS TABLE (log_id bytea, seq integer, period bigint, tree_size bigint, level text, root bytea, prev bytea,
                 epoch integer, signer bytea, signature bytea, checkpoint text)
  LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  log record;
BEGIN
  SELECT * INTO log FROM kiff.readable_log(tenant_id, log_ordinal);
  IF log.log_schema IS NULL THEN
    RETURN;
  END IF;
  RETURN QUERY EXECUTE format(
    'SELECT $1, s.seq, s.period, s.tree_size, s.level, s.root, s.prev, s.epoch, s.signer, s.signature, s.checkpoint
       FROM %I.seals s
      WHERE s.checkpoint IS NOT NULL AND s.seq <= $2 AND ($3 IS NULL OR s.seq = $3)
      ORDER BY s.seq DESC LIMIT 1', log.log_schema) USING log.log_id, log.last_seq, wanted;
END $$;

-- Tiles as they are for the newest published checkpoint: cut to what it covers, and with null where a covered one is not
-- stored. One that it does not cover has no row.
CREATE FUNCTION kiff.published_tiles(tenant_id text, log_ordinal integer, levels smallint[], indexes bigint[])
  RETURNS TABLE (level smallint, index bigint, width bigint, hashes bytea)
  LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
  log record;
  size bigint;
BEGIN
  SELECT * INTO log FROM kiff.readable_log(tenant_id, log_ordinal);
  SELECT c.tree_size INTO size FROM kiff.published_checkpoint(tenant_id, log_ordinal, NULL) c;
  IF size IS NULL THEN
    RETURN;
  END IF;
  RETURN QUERY EXECUTE format(
    'SELECT w.level, w.index, w.width, substring(t.hashes FROM 1 FOR 32 * w.width::integer)
       FROM (SELECT u.level, u.index, least(256, ($3 >> (8 * u.level)) - 256 * u.index) AS width
               FROM unnest($1, $2) AS u (level, index)
              WHERE u.level BETWEEN 0 AND 7 AND u.index BETWEEN 0 AND 1099511627776) w
       LEFT JOIN %I.tiles t USING (level, index)
      WHERE w.width > 0', log.log_schema) USING levels, indexes, size;
END $$;

-- Entries in [from_index, to_index) that the newest published checkpoint covers, 256 at most, in order.
CREATE FUNCTION kiff.published_entries(tenant_id text, log_ordinal integer, from_index bigint, to_index bigint)
  RETURNS TABLE (leaf_index bigint, entry bytea)
  LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  log record;
  size bigint;
BEGIN
  SELECT * INTO log FROM kiff.readable_log(tenant_id, log_ordinal);
  SELECT c.tree_size INTO size FROM kiff.published_checkpoint(tenant_id, log_ordinal, NULL) c;
  IF size IS NULL THEN
    RETURN;
  END IF;
  RETURN QUERY EXECUTE format(
    'SELECT r.leaf_index, r.entry FROM %I.records r WHERE r.leaf_index >= $1 AND r.leaf_index < $2 ORDER BY r.leaf_index',
    log.log_schema) USING from_index, least(to_index, from_index + 256, size);
END $$;

-- The operator's statement that a log has ended; no row while it goes on.
CREATE FUNCTION kiff.published_end(tenant_id text, log_ordinal integer) RETURNS TABLE (statement text)
  LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
  SELECT e.statement
    FROM kiff.ended_logs e
   WHERE e.tenant = tenant_id AND e.ordinal = log_ordinal
     AND EXISTS (SELECT FROM kiff.readable_log(tenant_id, log_ordinal));
END;

GRANT EXECUTE ON FUNCTION
  kiff.published_checkpoint(text, integer, integer),
  kiff.published_tiles(text, integer, smallint[], bigint[]),
  kiff.published_entries(text, integer, bigint, bigint),
  kiff.published_end(text, integer)
TO kiff_api, kiff_tenant_logins;

-- All public logs, ended ones too: what the published policy lists for everybody.
CREATE FUNCTION kiff.public_logs()
  RETURNS TABLE (tenant text, ordinal integer, origin text, genesis_signer bytea)
  LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
  SELECT l.tenant, l.ordinal, l.origin, l.genesis_signer
    FROM kiff.tenants t
    JOIN (SELECT c.tenant, c.ordinal, c.origin, c.genesis_signer FROM kiff.logs c
          UNION ALL
          SELECT e.tenant, e.ordinal, e.origin, e.genesis_signer FROM kiff.ended_logs e) l ON l.tenant = t.id
   WHERE t.log_public ORDER BY l.tenant, l.ordinal;
END;
GRANT EXECUTE ON FUNCTION kiff.public_logs() TO kiff_api;

-- The tenant makes its logs public, or takes that back; whether that changed anything. `acting` is who did it, by the API's
-- word, as in the tenant's own functions.
CREATE FUNCTION kiff.set_log_public(wanted boolean, acting text) RETURNS boolean
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  own text := kiff.session_tenant();
BEGIN
  UPDATE kiff.tenants t SET log_public = wanted WHERE t.id = own AND t.log_public IS DISTINCT FROM wanted;
  IF NOT FOUND THEN
    RETURN false;
  END IF;
  EXECUTE format('SELECT kiff_t_%s.append_event($1, $2)', own)
    USING CASE WHEN wanted THEN 'log.published' ELSE 'log.withdrawn' END, jsonb_build_object('by', acting);
  RETURN true;
END $$;
GRANT EXECUTE ON FUNCTION kiff.set_log_public(boolean, text) TO kiff_tenant_logins;

-- As in 024-succession.sql, but that the operator's checkpoints stay: they are of the same trees as before, and a log that was
-- published must not become shorter again until the new signer has signed.
CREATE OR REPLACE FUNCTION kiff.cut_over(of_log bytea, hash bytea) RETURNS void
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  h kiff.handovers;
  l kiff.logs;
  key text;
BEGIN
  SELECT * INTO h FROM kiff.handovers k WHERE k.log_id = of_log AND k.handover_hash = hash AND k.accepted_level = 'final';
  SELECT * INTO l FROM kiff.logs k WHERE k.tenant = h.tenant AND k.log_id = of_log FOR UPDATE;
  IF NOT FOUND OR l.epoch >= h.epoch_to THEN
    RETURN; -- an ended log, or one that is cut over already
  END IF;
  IF l.epoch + 1 <> h.epoch_to OR coalesce(l.current_signer, l.genesis_signer) <> h.from_signer THEN
    RAISE EXCEPTION USING ERRCODE = 'KF089', MESSAGE = 'a succession does not follow the last one';
  END IF;
  SELECT m.key_ref INTO key FROM kiff.custody_migrations m WHERE m.id = h.migration;
  EXECUTE format(
    'UPDATE kiff_t_%s.seals SET level = ''hashed'', prev = NULL, seal_hash = NULL, epoch = NULL, signer = NULL, signature = NULL,
            signed_at = NULL, tx_hash = NULL, block_number = NULL, block_hash = NULL, log_index = NULL,
            included_at = NULL, refused = NULL
      WHERE seq > $1 AND epoch < $2', h.tenant) USING h.accepted_seq, h.epoch_to;
  UPDATE kiff.logs
     SET current_signer = h.to_signer, epoch = h.epoch_to, key_ref = key, signer_since = clock_timestamp(), held_since = NULL,
         -- The claim of a handover that we did not sign may be anything; a key that we do not call is the tenant's.
         custody = CASE WHEN h.migration IS NOT NULL THEN h.custody ELSE 3 END,
         signing_blocked = NULL, signing_blocked_at = NULL, refusals = 0, held_back_until = NULL,
         signed_seq = least(signed_seq, h.accepted_seq), included_seq = least(included_seq, h.accepted_seq)
   WHERE tenant = h.tenant;
  EXECUTE format('INSERT INTO kiff_t_%s.events (kind, detail) VALUES (''custody.cut-over'', $1)', h.tenant)
    USING jsonb_build_object('epoch', h.epoch_to, 'from', '0x' || encode(h.from_signer, 'hex'), 'to', '0x' || encode(h.to_signer, 'hex'),
      'custody', h.custody, 'afterSeq', h.accepted_seq, 'transaction', '0x' || encode(h.accepted_tx, 'hex'), 'migration', h.migration);
END $$;
