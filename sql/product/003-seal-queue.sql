-- The anchoring worker's view of all tenants' seals. The queue is the seals themselves; these functions only walk them.

-- Signed seals that are not in a block yet, by log and seq, at most `max_seals`. Logs with the least to catch up come
-- first, so that one with a long backlog holds up nobody; what stands behind a refused seal cannot go and takes no room.
CREATE FUNCTION kiff.seals_to_anchor(max_seals integer)
  RETURNS TABLE (tenant text, log_id bytea, seq integer, period bigint, tree_size bigint, root bytea, seal_hash bytea, signature bytea)
  LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  l record;
  room integer := max_seals;
  n integer;
BEGIN
  FOR l IN SELECT k.tenant, k.log_id FROM kiff.logs k
            WHERE k.signed_seq > k.included_seq AND k.registered_block IS NOT NULL
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

-- Seals that are in a block and not final yet.
CREATE FUNCTION kiff.seals_to_confirm(max_seals integer)
  RETURNS TABLE (tenant text, log_id bytea, seq integer, period bigint, level text, seal_hash bytea,
                 tx_hash bytea, block_number bigint, block_hash bytea, log_index integer)
  LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  l record;
  room integer := max_seals;
  n integer;
BEGIN
  FOR l IN SELECT k.tenant, k.log_id FROM kiff.logs k WHERE k.included_seq > k.final_seq ORDER BY k.tenant LOOP
    EXIT WHEN room <= 0;
    RETURN QUERY EXECUTE format(
      'SELECT $1, $2, s.seq, s.period, s.level, s.seal_hash, s.tx_hash, s.block_number, s.block_hash, s.log_index
         FROM kiff_t_%s.seals s WHERE s.level IN (''included'', ''safe'') ORDER BY s.seq LIMIT $3', l.tenant)
      USING l.tenant, l.log_id, room;
    GET DIAGNOSTICS n = ROW_COUNT;
    room := room - n;
  END LOOP;
END $$;

-- Writes levels in bulk. A level may rise, or fall back to `sealed` before it is final (a reorg); the tenant's trigger
-- refuses to touch a final seal. Anchor columns are null exactly when the level is `sealed`.
CREATE FUNCTION kiff.set_levels(tenants text[], seqs integer[], levels text[], tx_hashes bytea[], block_numbers bigint[],
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
  FOR r IN SELECT DISTINCT u.tenant FROM unnest(tenants) AS u (tenant) WHERE u.tenant ~ '^[a-z][a-z0-9]{2,23}$' ORDER BY 1 LOOP
    EXECUTE format(
      'UPDATE kiff.logs k SET
         included_seq = coalesce((SELECT s.seq FROM kiff_t_%1$s.seals s WHERE s.level IN (''included'', ''safe'', ''final'')
                                   ORDER BY s.seq DESC LIMIT 1), 0),
         final_seq = coalesce((SELECT s.seq FROM kiff_t_%1$s.seals s WHERE s.level = ''final'' ORDER BY s.seq DESC LIMIT 1), 0)
        WHERE k.tenant = $1', r.tenant) USING r.tenant;
  END LOOP;
END $$;

-- A seal that the contract would refuse is set aside with its reason and holds up nobody else's.
CREATE FUNCTION kiff.set_refused(tenant_id text, seal_seq integer, reason text) RETURNS void
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  PERFORM FROM kiff.logs k WHERE k.tenant = tenant_id;
  IF NOT FOUND THEN
    RAISE EXCEPTION USING ERRCODE = 'KF021', MESSAGE = 'no such log';
  END IF;
  EXECUTE format('UPDATE kiff_t_%s.seals SET refused = $2 WHERE seq = $1 AND level = ''sealed''', tenant_id)
    USING seal_seq, reason;
END $$;

-- The struct hashes of our own seals at these places: what the contract's head must be equal to there.
CREATE FUNCTION kiff.seal_hashes(tenants text[], seqs integer[]) RETURNS TABLE (tenant text, seal_hash bytea)
  LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  r record;
BEGIN
  FOR r IN SELECT * FROM unnest(tenants, seqs) AS u (tenant, seq) WHERE u.tenant ~ '^[a-z][a-z0-9]{2,23}$' LOOP
    RETURN QUERY EXECUTE format('SELECT $1, s.seal_hash FROM kiff_t_%s.seals s WHERE s.seq = $2', r.tenant)
      USING r.tenant, r.seq;
  END LOOP;
END $$;

GRANT EXECUTE ON FUNCTION
  kiff.seal_hashes(text[], integer[]),
  kiff.seals_to_anchor(integer),
  kiff.seals_to_confirm(integer),
  kiff.set_levels(text[], integer[], text[], bytea[], bigint[], bytea[], integer[]),
  kiff.set_refused(text, integer, text)
TO kiff_anchoring;
