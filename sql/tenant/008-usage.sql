-- accept() as before, and it counts what the tenant uses by the hour: records and their bytes that were stored, and
-- duplicates, in the transaction that decides them, so a count is in the database exactly when what it counts is.
--
-- The running hour's counts stand in the head, which a batch writes anyway; kiff.usage (sql/product/) has the hours before it.
ALTER TABLE kiff_t_{{tenant}}.log_head
  ADD COLUMN hour timestamptz,
  ADD COLUMN hour_records bigint NOT NULL DEFAULT 0,
  ADD COLUMN hour_bytes bigint NOT NULL DEFAULT 0,
  ADD COLUMN hour_duplicates bigint NOT NULL DEFAULT 0;

CREATE OR REPLACE FUNCTION kiff_t_{{tenant}}.accept(ids text[], bodies bytea[], record_offsets integer[], salts bytea[],
                                                    commitments bytea[], key_id text)
  RETURNS TABLE (ord bigint, outcome text, leaf_index bigint, leaf_hash bytea, received_at timestamptz)
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
  -- The plan is made while the tables may still be empty: look records up by index all the same.
  SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_nestloop = off
AS $$
#variable_conflict use_column
DECLARE
  head_size bigint;
  head_time timestamptz(3);
  now_ms timestamptz(3);
  head_hour timestamptz;
  this_hour timestamptz;
  middle text;
BEGIN
  IF key_id !~ '^[a-z0-9][a-z0-9_-]{0,63}$' THEN
    RAISE EXCEPTION USING ERRCODE = 'KF001', MESSAGE = 'bad key id';
  END IF;
  IF cardinality(ids) > 1000 OR cardinality(ids) <> cardinality(bodies) OR cardinality(ids) <> cardinality(record_offsets)
     OR cardinality(ids) <> cardinality(salts) OR cardinality(ids) <> cardinality(commitments) THEN
    RAISE EXCEPTION USING ERRCODE = 'KF001', MESSAGE = 'bad batch shape';
  END IF;
  IF EXISTS (SELECT FROM unnest(commitments) AS c (bytes) WHERE octet_length(c.bytes) IS DISTINCT FROM 32) THEN
    RAISE EXCEPTION USING ERRCODE = 'KF001', MESSAGE = 'bad commitment';
  END IF;

  SELECT h.size, h.last_received_at, h.hour INTO STRICT head_size, head_time, head_hour
    FROM kiff_t_{{tenant}}.log_head h FOR UPDATE;
  IF head_time = '-infinity' THEN
    -- The first record is never dated before the first period, though the clock may have gone back since activation:
    -- no seal would ever be its own.
    SELECT to_timestamp(l.first_period) INTO head_time FROM kiff.logs l WHERE l.tenant = '{{tenant}}';
    IF head_time IS NULL THEN
      RAISE EXCEPTION USING ERRCODE = 'KF005', MESSAGE = 'the log is not active';
    END IF;
  END IF;
  now_ms := greatest(head_time, date_trunc('milliseconds', clock_timestamp()));
  IF now_ms > clock_timestamp() + interval '5 seconds' THEN
    RAISE EXCEPTION USING ERRCODE = 'KF002', MESSAGE = 'the log head is ahead of the clock';
  END IF;
  middle := '","received_at":"' || to_char(now_ms AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') ||
            '","key":"' || key_id || '","commitment":"';

  -- The first batch of an hour puts the last one's counts away.
  this_hour := date_trunc('hour', now_ms, 'UTC');
  IF head_hour IS DISTINCT FROM this_hour THEN
    INSERT INTO kiff.usage AS u (tenant, hour, records, bytes, duplicates)
      SELECT '{{tenant}}', h.hour, h.hour_records, h.hour_bytes, h.hour_duplicates FROM kiff_t_{{tenant}}.log_head h WHERE h.hour IS NOT NULL
      ON CONFLICT ON CONSTRAINT usage_pkey DO UPDATE
        SET records = excluded.records, bytes = excluded.bytes, duplicates = excluded.duplicates;
    UPDATE kiff_t_{{tenant}}.log_head SET hour = this_hour, hour_records = 0, hour_bytes = 0, hour_duplicates = 0;
  END IF;

  RETURN QUERY
  WITH input AS MATERIALIZED (
    SELECT u.ord, u.id, u.body, u.record_offset, u.salt, u.commitment, r.leaf_index AS known_index,
           row_number() OVER (PARTITION BY u.id ORDER BY u.ord) = 1 AS first_of_id
      FROM unnest(ids, bodies, record_offsets, salts, commitments)
           WITH ORDINALITY AS u (id, body, record_offset, salt, commitment, ord)
      LEFT JOIN LATERAL (SELECT k.leaf_index FROM kiff_t_{{tenant}}.records k WHERE k.id = u.id LIMIT 1) r ON true
  ), fresh AS MATERIALIZED (
    SELECT f.ord, f.id, f.body, f.record_offset, f.salt, f.leaf_index, e.entry, sha256('\x00'::bytea || e.entry) AS leaf_hash
      FROM (SELECT i.*, head_size + row_number() OVER (ORDER BY i.ord) - 1 AS leaf_index
              FROM input i WHERE i.first_of_id AND i.known_index IS NULL) f,
           LATERAL (SELECT convert_to(
             '{"v":1,"id":"' || f.id || middle || encode(f.commitment, 'hex') || '"}', 'UTF8') AS entry) e
  ), new_records AS (
    INSERT INTO kiff_t_{{tenant}}.records (leaf_index, id, received_at, entry, leaf_hash)
    SELECT f.leaf_index, f.id, now_ms, f.entry, f.leaf_hash FROM fresh f ORDER BY f.leaf_index
  ), new_bodies AS (
    INSERT INTO kiff_t_{{tenant}}.bodies (leaf_index, salt, body, record_offset)
    SELECT f.leaf_index, f.salt, f.body, f.record_offset FROM fresh f ORDER BY f.leaf_index
  ), stored AS MATERIALIZED (
    SELECT count(*) AS records, coalesce(sum(octet_length(f.body) - f.record_offset - 1), 0) AS bytes FROM fresh f
  ), repeated AS MATERIALIZED (
    SELECT i.ord, r.leaf_hash, r.received_at,
           CASE WHEN f.ord IS NOT NULL THEN
                  CASE WHEN substring(f.body FROM f.record_offset + 1) = substring(i.body FROM i.record_offset + 1)
                       THEN 'duplicate' ELSE 'conflict' END
                WHEN b.body IS NULL THEN 'erased'
                WHEN substring(b.body FROM b.record_offset + 1) = substring(i.body FROM i.record_offset + 1) THEN 'duplicate'
                ELSE 'conflict' END AS outcome
      FROM input i
      LEFT JOIN fresh f ON f.id = i.id
      LEFT JOIN LATERAL (SELECT k.leaf_hash, k.received_at FROM kiff_t_{{tenant}}.records k
                          WHERE k.leaf_index = i.known_index LIMIT 1) r ON true
      LEFT JOIN LATERAL (SELECT k.body, k.record_offset FROM kiff_t_{{tenant}}.bodies k
                          WHERE k.leaf_index = i.known_index LIMIT 1) b ON true
     WHERE i.known_index IS NOT NULL OR NOT i.first_of_id
  ), new_head AS (
    UPDATE kiff_t_{{tenant}}.log_head h
       SET size = head_size + s.records,
           last_received_at = CASE WHEN s.records > 0 THEN now_ms ELSE h.last_received_at END,
           hour_records = h.hour_records + s.records, hour_bytes = h.hour_bytes + s.bytes,
           hour_duplicates = h.hour_duplicates + d.duplicates
      FROM stored s, (SELECT count(*) AS duplicates FROM repeated p WHERE p.outcome = 'duplicate') d
     WHERE s.records > 0 OR d.duplicates > 0
  )
  SELECT i.ord, coalesce(p.outcome, 'accepted'), coalesce(f.leaf_index, i.known_index), coalesce(f.leaf_hash, p.leaf_hash),
         CASE WHEN f.ord IS NOT NULL THEN now_ms ELSE p.received_at END
    FROM input i LEFT JOIN fresh f ON f.id = i.id LEFT JOIN repeated p ON p.ord = i.ord
   ORDER BY i.ord;
END $$;
