-- The relayer's wallet: one holder, one nonce at a time, and every transaction that was ever signed for it.

CREATE TABLE kiff.wallets (
  chain_id bigint NOT NULL,
  relayer bytea NOT NULL CHECK (octet_length(relayer) = 20),
  -- Fencing: only the workflow run named here may sign. Taken over when the lease has run out.
  holder text NOT NULL,
  held_until timestamptz NOT NULL,
  PRIMARY KEY (chain_id, relayer)
);

CREATE TABLE kiff.nonces (
  chain_id bigint NOT NULL,
  relayer bytea NOT NULL,
  nonce bigint NOT NULL CHECK (nonce >= 0),
  kind text NOT NULL CHECK (kind IN ('register', 'anchor')),
  to_address bytea NOT NULL CHECK (octet_length(to_address) = 20),
  calldata bytea NOT NULL,
  gas bigint NOT NULL CHECK (gas > 0),
  state text NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'mined', 'final')),
  mined_hash bytea,
  mined_block bigint,
  created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (chain_id, relayer, nonce),
  FOREIGN KEY (chain_id, relayer) REFERENCES kiff.wallets (chain_id, relayer),
  CHECK ((state = 'open') = (mined_hash IS NULL))
);
CREATE INDEX open_nonces ON kiff.nonces (chain_id, relayer, nonce) WHERE state <> 'final';

-- Every hash ever signed for a nonce stays known: any of them may be the one that is mined.
CREATE TABLE kiff.transactions (
  hash bytea PRIMARY KEY CHECK (octet_length(hash) = 32),
  chain_id bigint NOT NULL,
  relayer bytea NOT NULL,
  nonce bigint NOT NULL,
  raw bytea NOT NULL,
  max_fee_per_gas numeric(39) NOT NULL CHECK (max_fee_per_gas > 0),
  max_priority_fee_per_gas numeric(39) NOT NULL CHECK (max_priority_fee_per_gas >= 0),
  signed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  FOREIGN KEY (chain_id, relayer, nonce) REFERENCES kiff.nonces (chain_id, relayer, nonce)
);
CREATE INDEX transactions_nonce ON kiff.transactions (chain_id, relayer, nonce);

GRANT SELECT ON kiff.wallets, kiff.nonces, kiff.transactions TO kiff_anchoring;

-- The lease: taken by compare-and-swap, renewed by its holder.
CREATE FUNCTION kiff.hold_wallet(chain bigint, wallet bytea, run text, seconds integer) RETURNS boolean
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  INSERT INTO kiff.wallets AS w (chain_id, relayer, holder, held_until)
    VALUES (chain, wallet, run, clock_timestamp() + make_interval(secs => seconds))
    ON CONFLICT (chain_id, relayer) DO UPDATE SET holder = excluded.holder, held_until = excluded.held_until
      WHERE w.holder = run OR w.held_until < clock_timestamp();
  RETURN FOUND;
END $$;

CREATE FUNCTION kiff.release_wallet(chain bigint, wallet bytea, run text) RETURNS void
  LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
  UPDATE kiff.wallets SET held_until = clock_timestamp() - interval '1 second'
   WHERE chain_id = chain AND relayer = wallet AND holder = run;
END;

-- Raises unless `run` holds the wallet; the row stays locked until commit, so no second holder can slip in between.
CREATE FUNCTION kiff.assert_holder(chain bigint, wallet bytea, run text) RETURNS void
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  PERFORM FROM kiff.wallets
    WHERE chain_id = chain AND relayer = wallet AND holder = run AND held_until > clock_timestamp() FOR UPDATE;
  IF NOT FOUND THEN
    RAISE EXCEPTION USING ERRCODE = 'KF020', MESSAGE = 'this run does not hold the wallet';
  END IF;
END $$;

-- Opens a nonce. Its call is fixed here; what may change later is only the fees. One nonce in flight: a second one
-- waits until the first is mined, so a question of order between batches never arises.
CREATE FUNCTION kiff.open_nonce(chain bigint, wallet bytea, run text, new_nonce bigint, tx_kind text,
                                destination bytea, data bytea, gas_limit bigint) RETURNS void
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  PERFORM kiff.assert_holder(chain, wallet, run);
  PERFORM FROM kiff.nonces n WHERE n.chain_id = chain AND n.relayer = wallet AND n.state = 'open';
  IF FOUND THEN
    RAISE EXCEPTION USING ERRCODE = 'KF022', MESSAGE = 'a nonce is open already';
  END IF;
  INSERT INTO kiff.nonces (chain_id, relayer, nonce, kind, to_address, calldata, gas)
    VALUES (chain, wallet, new_nonce, tx_kind, destination, data, gas_limit);
END $$;

-- Stored before it is broadcast: whatever dies afterwards, the bytes that may be in a mempool are here.
CREATE FUNCTION kiff.store_transaction(chain bigint, wallet bytea, run text, tx_nonce bigint, tx_hash bytea, raw_tx bytea,
                                       fee numeric, priority_fee numeric) RETURNS void
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  PERFORM kiff.assert_holder(chain, wallet, run);
  INSERT INTO kiff.transactions (hash, chain_id, relayer, nonce, raw, max_fee_per_gas, max_priority_fee_per_gas)
    VALUES (tx_hash, chain, wallet, tx_nonce, raw_tx, fee, priority_fee)
    ON CONFLICT (hash) DO NOTHING;
END $$;

-- A transaction of this nonce is in a block; or, with nulls, none is any more (a reorg) and the same bytes go out again.
CREATE FUNCTION kiff.set_nonce_mined(chain bigint, wallet bytea, run text, tx_nonce bigint, tx_hash bytea, block bigint)
  RETURNS void
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  PERFORM kiff.assert_holder(chain, wallet, run);
  UPDATE kiff.nonces SET state = CASE WHEN tx_hash IS NULL THEN 'open' ELSE 'mined' END, mined_hash = tx_hash, mined_block = block
   WHERE chain_id = chain AND relayer = wallet AND nonce = tx_nonce AND state <> 'final';
END $$;

-- The nonces whose block is final need no more watching.
CREATE FUNCTION kiff.set_nonces_final(chain bigint, wallet bytea, run text, final_block bigint) RETURNS void
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  PERFORM kiff.assert_holder(chain, wallet, run);
  UPDATE kiff.nonces SET state = 'final'
   WHERE chain_id = chain AND relayer = wallet AND state = 'mined' AND mined_block <= final_block;
END $$;

CREATE FUNCTION kiff.set_registered(tenants text[], block bigint) RETURNS void
  LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
  UPDATE kiff.logs SET registered_block = block WHERE tenant = ANY (tenants) AND registered_block IS NULL;
END;

-- A reorg took the registration away again: it is sent once more.
CREATE FUNCTION kiff.set_unregistered(tenants text[]) RETURNS void
  LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
  UPDATE kiff.logs SET registered_block = NULL WHERE tenant = ANY (tenants) AND final_seq = 0;
END;

GRANT EXECUTE ON FUNCTION
  kiff.hold_wallet(bigint, bytea, text, integer),
  kiff.release_wallet(bigint, bytea, text),
  kiff.open_nonce(bigint, bytea, text, bigint, text, bytea, bytea, bigint),
  kiff.store_transaction(bigint, bytea, text, bigint, bytea, bytea, numeric, numeric),
  kiff.set_nonce_mined(bigint, bytea, text, bigint, bytea, bigint),
  kiff.set_nonces_final(bigint, bytea, text, bigint),
  kiff.set_registered(text[], bigint),
  kiff.set_unregistered(text[])
TO kiff_anchoring;
