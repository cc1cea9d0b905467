-- The look at the seals in a block goes to the logs that have some, and to no other. It went to every log with a seal that is not final, all in one
-- statement: where some thousands of logs wait to be anchored that is more locks than the server has (max_locks_per_transaction), and the
-- wallet stood still.

-- The newest seal in a block, though one before it may have lost its block again. Too high is a look in vain; it begins so.
ALTER TABLE kiff.logs ADD COLUMN anchored_seq integer NOT NULL DEFAULT 0;
UPDATE kiff.logs SET anchored_seq = signed_seq;

CREATE OR REPLACE FUNCTION kiff.set_levels(tenants text[], seqs integer[], levels text[], tx_hashes bytea[], block_numbers bigint[],
                                           block_hashes bytea[], log_indexes integer[]) RETURNS void
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  r record;
BEGIN
  FOR r IN SELECT * FROM unnest(tenants, seqs, levels, tx_hashes, block_numbers, block_hashes, log_indexes)
                      AS u (tenant, seq, level, tx_hash, block_number, block_hash, log_index)
            WHERE u.tenant ~ '^[a-z][a-z0-9]{2,23}$' LOOP
    EXECUTE format(
      'UPDATE kiff_t_%s.seals SET level = $2, tx_hash = $3, block_number = $4, block_hash = $5, log_index = $6,
              included_at = CASE WHEN $2 = ''sealed'' THEN NULL ELSE coalesce(included_at, clock_timestamp()) END,
              final_at = CASE WHEN $2 = ''final'' THEN clock_timestamp() END
        WHERE seq = $1 AND level <> ''final'' AND signature IS NOT NULL', r.tenant)
      USING r.seq, r.level, r.tx_hash, r.block_number, r.block_hash, r.log_index;
  END LOOP;
  FOR r IN SELECT u.tenant, bool_or(u.level <> 'sealed') AS anchored FROM unnest(tenants, levels) AS u (tenant, level)
            WHERE u.tenant ~ '^[a-z][a-z0-9]{2,23}$' GROUP BY u.tenant ORDER BY u.tenant LOOP
    EXECUTE format(
      'UPDATE kiff.logs k SET
         included_seq = least(k.signed_seq, (SELECT min(s.seq) - 1 FROM kiff_t_%1$s.seals s
                                              WHERE s.level IN (''collected'', ''hashed'', ''sealed''))),
         anchored_seq = coalesce((SELECT s.seq FROM kiff_t_%1$s.seals s WHERE s.level IN (''included'', ''safe'', ''final'')
                                   ORDER BY s.seq DESC LIMIT 1), 0),
         final_seq = least(k.signed_seq, (SELECT min(s.seq) - 1 FROM kiff_t_%1$s.seals s WHERE s.level <> ''final'')),
         refusals = CASE WHEN $2 THEN 0 ELSE k.refusals END,
         held_back_until = CASE WHEN $2 THEN NULL ELSE k.held_back_until END
        WHERE k.tenant = $1', r.tenant) USING r.tenant, r.anchored;
  END LOOP;
END $$;

CREATE OR REPLACE FUNCTION kiff.seals_to_confirm(max_seals integer, after_tenant text, after_seq integer)
  RETURNS TABLE (tenant text, log_id bytea, seq integer, period bigint, level text, seal_hash bytea,
                 tx_hash bytea, block_number bigint, block_hash bytea, log_index integer)
  LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  l record;
  room integer := max_seals;
  n integer;
BEGIN
  FOR l IN SELECT k.tenant, k.log_id FROM kiff.logs k
            WHERE k.signed_seq > k.final_seq AND k.anchored_seq > k.final_seq AND k.tenant >= after_tenant ORDER BY k.tenant LOOP
    EXIT WHEN room <= 0;
    RETURN QUERY EXECUTE format(
      'SELECT $1, $2, s.seq, s.period, s.level, s.seal_hash, s.tx_hash, s.block_number, s.block_hash, s.log_index
         FROM kiff_t_%s.seals s WHERE s.level IN (''included'', ''safe'') AND s.seq > $4 ORDER BY s.seq LIMIT $3', l.tenant)
      USING l.tenant, l.log_id, room, CASE WHEN l.tenant = after_tenant THEN after_seq ELSE 0 END;
    GET DIAGNOSTICS n = ROW_COUNT;
    room := room - n;
  END LOOP;
END $$;
