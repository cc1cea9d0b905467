-- Anchoring in any weather: what the wallet must remember to find its way after a reorganisation, a restored backup or a
-- hostile signer, and what its transactions cost.

ALTER TABLE kiff.wallets
  -- The newest block that was final when we last looked. If another one ever stands there, something final was taken back.
  ADD COLUMN final_block bigint,
  ADD COLUMN final_hash bytea CHECK (octet_length(final_hash) = 32),
  ADD CHECK (num_nulls(final_block, final_hash) IN (0, 2));

ALTER TABLE kiff.nonces
  ADD COLUMN mined_block_hash bytea CHECK (octet_length(mined_block_hash) = 32),
  ADD COLUMN mined_at timestamptz,
  -- What it cost, wei: gas, and on an OP stack the fee for its data.
  ADD COLUMN cost numeric(39) CHECK (cost >= 0);
CREATE INDEX nonces_mined_at ON kiff.nonces (chain_id, relayer, mined_at);

-- The newest block when it was signed: an offer's age is counted in blocks.
ALTER TABLE kiff.transactions ADD COLUMN head_block bigint NOT NULL DEFAULT 0 CHECK (head_block >= 0);
ALTER TABLE kiff.transactions ALTER COLUMN head_block DROP DEFAULT;

-- A log whose seal the contract refused although it had let it pass in a simulation rests for a while, longer each time.
ALTER TABLE kiff.logs
  ADD COLUMN refusals integer NOT NULL DEFAULT 0 CHECK (refusals >= 0),
  ADD COLUMN held_back_until timestamptz;

DROP FUNCTION kiff.store_transaction(bigint, bytea, text, bigint, bytea, bytea, numeric, numeric);
DROP FUNCTION kiff.set_nonce_mined(bigint, bytea, text, bigint, bytea, bigint);
DROP FUNCTION kiff.set_nonces_final(bigint, bytea, text, bigint);
DROP FUNCTION kiff.seals_to_anchor(integer);
DROP FUNCTION kiff.seals_to_confirm(integer);

-- Stored before it is broadcast: whatever dies afterwards, the bytes that may be in a mempool are here.
CREATE FUNCTION kiff.store_transaction(chain bigint, wallet bytea, run text, tx_nonce bigint, tx_hash bytea, raw_tx bytea,
                                       fee numeric, priority_fee numeric, head bigint) RETURNS void
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  PERFORM kiff.assert_holder(chain, wallet, run);
  INSERT INTO kiff.transactions (hash, chain_id, relayer, nonce, raw, max_fee_per_gas, max_priority_fee_per_gas, head_block)
    VALUES (tx_hash, chain, wallet, tx_nonce, raw_tx, fee, priority_fee, head)
    ON CONFLICT (hash) DO NOTHING;
END $$;

-- A nonce that this table has forgotten (a restored backup) and a transaction of ours has used: it is open again, and
-- the next look finds its block.
CREATE FUNCTION kiff.adopt_nonce(chain bigint, wallet bytea, run text, tx_nonce bigint, tx_kind text, destination bytea,
                                 data bytea, gas_limit bigint) RETURNS void
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  PERFORM kiff.assert_holder(chain, wallet, run);
  INSERT INTO kiff.nonces (chain_id, relayer, nonce, kind, to_address, calldata, gas)
    VALUES (chain, wallet, tx_nonce, tx_kind, destination, data, gas_limit)
    ON CONFLICT (chain_id, relayer, nonce) DO NOTHING;
END $$;

-- A transaction of this nonce is in a block; after a reorganisation perhaps in another one than before.
CREATE FUNCTION kiff.set_nonce_mined(chain bigint, wallet bytea, run text, tx_nonce bigint, tx_hash bytea, block bigint,
                                     block_hash bytea, spent numeric) RETURNS void
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  PERFORM kiff.assert_holder(chain, wallet, run);
  UPDATE kiff.nonces
     SET state = 'mined', mined_hash = tx_hash, mined_block = block, mined_block_hash = block_hash, cost = spent,
         mined_at = coalesce(mined_at, clock_timestamp())
   WHERE chain_id = chain AND relayer = wallet AND nonce = tx_nonce AND state <> 'final';
END $$;

-- Mined nonces need no more watching once their block is final and the chain, at its finalized block, counts them.
CREATE FUNCTION kiff.set_nonces_final(chain bigint, wallet bytea, run text, final_block bigint, counted bigint) RETURNS void
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  PERFORM kiff.assert_holder(chain, wallet, run);
  UPDATE kiff.nonces SET state = 'final'
   WHERE chain_id = chain AND relayer = wallet AND state = 'mined' AND mined_block <= final_block AND nonce < counted;
END $$;

-- None of its transactions is in a block any more: the same bytes go out again. (Even of one that was final, if the chain
-- really took that back: no later nonce could be used before it.)
CREATE FUNCTION kiff.reopen_nonce(chain bigint, wallet bytea, run text, tx_nonce bigint) RETURNS void
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  PERFORM kiff.assert_holder(chain, wallet, run);
  UPDATE kiff.nonces
     SET state = 'open', mined_hash = NULL, mined_block = NULL, mined_block_hash = NULL, cost = NULL, mined_at = NULL
   WHERE chain_id = chain AND relayer = wallet AND nonce = tx_nonce AND state <> 'open';
END $$;

CREATE FUNCTION kiff.set_finality(chain bigint, wallet bytea, run text, block bigint, block_hash bytea) RETURNS void
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  PERFORM kiff.assert_holder(chain, wallet, run);
  UPDATE kiff.wallets SET final_block = block, final_hash = block_hash WHERE chain_id = chain AND relayer = wallet;
END $$;

-- Signed seals that are not in a block yet, by log and seq, at most `max_seals`. Logs with the least to catch up come
-- first, so that one with a long backlog holds up nobody; what stands behind a refused seal cannot go and takes no room,
-- and a log that is held back takes none until its time has come.
CREATE FUNCTION kiff.seals_to_anchor(max_seals integer)
  RETURNS TABLE (tenant text, log_id bytea, seq integer, period bigint, tree_size bigint, root bytea, seal_hash bytea,
                 signer bytea, signature bytea, refusals integer)
  LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  l record;
  room integer := max_seals;
  n integer;
BEGIN
  FOR l IN SELECT k.tenant, k.log_id, k.refusals FROM kiff.logs k
            WHERE k.signed_seq > k.included_seq AND k.registered_block IS NOT NULL AND k.frozen_reason IS NULL
              AND (k.held_back_until IS NULL OR k.held_back_until <= clock_timestamp())
            ORDER BY k.signed_seq - k.included_seq, k.tenant LOOP
    EXIT WHEN room <= 0;
    RETURN QUERY EXECUTE format(
      'SELECT $1, $2, s.seq, s.period, s.tree_size, s.root, s.seal_hash, s.signer, s.signature, $4
         FROM kiff_t_%1$s.seals s
        WHERE s.level = ''sealed'' AND s.seq < coalesce(
          (SELECT min(r.seq) FROM kiff_t_%1$s.seals r WHERE r.level = ''sealed'' AND r.refused IS NOT NULL), 2147483647)
        ORDER BY s.seq LIMIT $3', l.tenant)
      USING l.tenant, l.log_id, room, l.refusals;
    GET DIAGNOSTICS n = ROW_COUNT;
    room := room - n;
  END LOOP;
END $$;

-- Seals that are in a block and not final yet, by tenant and seq, behind (`after_tenant`, `after_seq`).
CREATE FUNCTION kiff.seals_to_confirm(max_seals integer, after_tenant text, after_seq integer)
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
            WHERE k.signed_seq > k.final_seq AND k.tenant >= after_tenant ORDER BY k.tenant LOOP
    EXIT WHEN room <= 0;
    RETURN QUERY EXECUTE format(
      'SELECT $1, $2, s.seq, s.period, s.level, s.seal_hash, s.tx_hash, s.block_number, s.block_hash, s.log_index
         FROM kiff_t_%s.seals s WHERE s.level IN (''included'', ''safe'') AND s.seq > $4 ORDER BY s.seq LIMIT $3', l.tenant)
      USING l.tenant, l.log_id, room, CASE WHEN l.tenant = after_tenant THEN after_seq ELSE 0 END;
    GET DIAGNOSTICS n = ROW_COUNT;
    room := room - n;
  END LOOP;
END $$;

-- Logs rest one minute after the first refusal, twice as long after each further one, an hour at most.
CREATE FUNCTION kiff.hold_back(tenants text[]) RETURNS void
  LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
  UPDATE kiff.logs
     SET refusals = refusals + 1,
         held_back_until = clock_timestamp() + least(interval '1 hour', interval '1 minute' * 2 ^ least(refusals, 6))
   WHERE tenant = ANY (tenants);
END;

-- As before, and: both standings of a log end below its first gap. A seal that fell back while a later one did not (the
-- word of an RPC, not of the chain) would otherwise never be looked at again.
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
         final_seq = least(k.signed_seq, (SELECT min(s.seq) - 1 FROM kiff_t_%1$s.seals s WHERE s.level <> ''final'')),
         refusals = CASE WHEN $2 THEN 0 ELSE k.refusals END,
         held_back_until = CASE WHEN $2 THEN NULL ELSE k.held_back_until END
        WHERE k.tenant = $1', r.tenant) USING r.tenant, r.anchored;
  END LOOP;
END $$;

-- The newest final seal of each log, by tenant, after `after`.
CREATE FUNCTION kiff.newest_final_seals(after text, max_logs integer)
  RETURNS TABLE (tenant text, seq integer, block_number bigint, block_hash bytea)
  LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  l record;
BEGIN
  FOR l IN SELECT k.tenant, k.final_seq FROM kiff.logs k WHERE k.final_seq > 0 AND k.tenant > after
            ORDER BY k.tenant LIMIT max_logs LOOP
    RETURN QUERY EXECUTE format(
      'SELECT $1, s.seq, s.block_number, s.block_hash FROM kiff_t_%s.seals s WHERE s.seq = $2', l.tenant)
      USING l.tenant, l.final_seq;
  END LOOP;
END $$;

GRANT EXECUTE ON FUNCTION
  kiff.store_transaction(bigint, bytea, text, bigint, bytea, bytea, numeric, numeric, bigint),
  kiff.adopt_nonce(bigint, bytea, text, bigint, text, bytea, bytea, bigint),
  kiff.set_nonce_mined(bigint, bytea, text, bigint, bytea, bigint, bytea, numeric),
  kiff.reopen_nonce(bigint, bytea, text, bigint),
  kiff.set_nonces_final(bigint, bytea, text, bigint, bigint),
  kiff.set_finality(bigint, bytea, text, bigint, bytea),
  kiff.seals_to_anchor(integer),
  kiff.hold_back(text[]),
  kiff.seals_to_confirm(integer, text, integer),
  kiff.newest_final_seals(text, integer)
TO kiff_anchoring;
