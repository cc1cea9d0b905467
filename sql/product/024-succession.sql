-- A log's signers on chain (design section 7): the calls that the wallet makes for a handover, what the chain says of
-- handovers, whoever sent them, and the cut-over.

ALTER TABLE kiff.nonces DROP CONSTRAINT nonces_kind_check;
ALTER TABLE kiff.nonces
  ADD CONSTRAINT nonces_kind_check CHECK (kind IN ('register', 'anchor', 'propose', 'accept', 'cancel'));

-- Up to this block every event of a handover is final and stands in kiff.handovers.
ALTER TABLE kiff.wallets ADD COLUMN handovers_block bigint CHECK (handovers_block >= 0);

ALTER TABLE kiff.handovers
  -- Null when the call that proposed it cannot be read out of its transaction.
  ALTER COLUMN not_before DROP NOT NULL,
  ALTER COLUMN nonce DROP NOT NULL,
  -- What was accepted: the old signer's last seal, the log's head before and after. `accepted_head` is null while nothing
  -- that we know gives `accepted_hash`; the signature, when it is neither ours nor readable in the transaction.
  ADD COLUMN accepted_seq integer CHECK (accepted_seq >= 0),
  ADD COLUMN accepted_head bytea CHECK (octet_length(accepted_head) = 32),
  ADD COLUMN accepted_hash bytea CHECK (octet_length(accepted_hash) = 32),
  ADD COLUMN accepted_signature bytea CHECK (octet_length(accepted_signature) = 65),
  -- How often in a row the contract refused its call.
  ADD COLUMN refusals integer NOT NULL DEFAULT 0 CHECK (refusals >= 0),
  ADD CHECK (num_nulls(accepted_level, accepted_seq, accepted_hash) IN (0, 3)),
  ADD CHECK (accepted_level IS NOT NULL OR num_nonnulls(accepted_head, accepted_signature) = 0);

CREATE OR REPLACE FUNCTION kiff.handover_keeps_its_facts() RETURNS trigger
  LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  IF TG_OP <> 'UPDATE'
     OR (NEW.tenant, NEW.log_id, NEW.handover_hash, NEW.epoch_to, NEW.from_signer, NEW.to_signer, NEW.custody, NEW.expires_at)
        IS DISTINCT FROM
        (OLD.tenant, OLD.log_id, OLD.handover_hash, OLD.epoch_to, OLD.from_signer, OLD.to_signer, OLD.custody, OLD.expires_at)
     OR (OLD.nonce IS NOT NULL AND (NEW.not_before, NEW.nonce) IS DISTINCT FROM (OLD.not_before, OLD.nonce))
     OR (OLD.to_signature IS NOT NULL AND NEW.to_signature IS DISTINCT FROM OLD.to_signature)
     OR (OLD.from_signature IS NOT NULL AND NEW.from_signature IS DISTINCT FROM OLD.from_signature)
     OR (OLD.accept_signature IS NOT NULL AND (NEW.accept_seq, NEW.accept_head, NEW.accept_hash, NEW.accept_signature)
         IS DISTINCT FROM (OLD.accept_seq, OLD.accept_head, OLD.accept_hash, OLD.accept_signature))
     OR (OLD.cancel_signature IS NOT NULL AND (NEW.cancel_by, NEW.cancel_signature) IS DISTINCT FROM (OLD.cancel_by, OLD.cancel_signature))
     OR (OLD.accepted_level = 'final' AND
         (NEW.accepted_level, NEW.accepted_tx, NEW.accepted_block, NEW.accepted_seq, NEW.accepted_hash) IS DISTINCT FROM
         (OLD.accepted_level, OLD.accepted_tx, OLD.accepted_block, OLD.accepted_seq, OLD.accepted_hash))
     OR (OLD.cancelled_level = 'final' AND (NEW.cancelled_level, NEW.cancelled_tx, NEW.cancelled_block) IS DISTINCT FROM
         (OLD.cancelled_level, OLD.cancelled_tx, OLD.cancelled_block)) THEN
    RAISE EXCEPTION USING ERRCODE = 'KF080', MESSAGE = 'a fixed fact of a handover cannot be changed';
  END IF;
  RETURN NEW;
END $$;

-- What the wallet has to send for handovers of current logs, at most `max_calls`. A cancellation goes before everything else, and
-- nothing else goes once there is one, or once the migration was
-- given up; of a frozen log only that. Whether the contract takes a call is for the simulation to say.
CREATE FUNCTION kiff.handover_calls(max_calls integer)
  RETURNS TABLE (call text, tenant text, log_id bytea, handover_hash bytea, epoch_to integer, from_signer bytea, to_signer bytea,
                 custody smallint, not_before bigint, expires_at bigint, nonce bytea, signature bytea, second_signature bytea,
                 refused text)
  LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
  SELECT d.call, h.tenant, h.log_id, h.handover_hash, h.epoch_to, h.from_signer, h.to_signer, h.custody, h.not_before, h.expires_at,
         h.nonce,
         CASE d.call WHEN 'propose' THEN h.from_signature WHEN 'accept' THEN h.accept_signature ELSE h.cancel_signature END,
         CASE d.call WHEN 'propose' THEN h.to_signature END,
         h.refused
    FROM kiff.handovers h
    JOIN kiff.logs l ON l.tenant = h.tenant AND l.log_id = h.log_id
    LEFT JOIN kiff.custody_migrations m ON m.id = h.migration
    CROSS JOIN LATERAL (SELECT CASE
      WHEN h.cancel_signature IS NOT NULL THEN 'cancel'
      WHEN l.frozen_reason IS NOT NULL OR m.given_up IS NOT NULL THEN NULL
      WHEN h.accept_signature IS NOT NULL AND h.proposed_level IS NOT NULL THEN 'accept'
      WHEN h.proposed_level IS NULL AND h.from_signature IS NOT NULL AND h.to_signature IS NOT NULL THEN 'propose'
      END AS call) d
   WHERE d.call IS NOT NULL AND h.accepted_level IS NULL AND h.cancelled_level IS NULL AND h.lapsed_block IS NULL AND h.nonce IS NOT NULL
     AND h.epoch_to = l.epoch + 1 AND l.registered_block IS NOT NULL AND h.look_after <= clock_timestamp()
   ORDER BY d.call = 'cancel' DESC, d.call = 'accept' DESC, h.signed_at, h.tenant
   LIMIT max_calls;
END;

-- The contract would not take a call, or its transaction reverted: looked at again after `seconds`, or a minute, twice as long after
-- each further refusal, an hour at most.
CREATE FUNCTION kiff.refuse_handover_call(of_log bytea, hash bytea, outcome text, seconds integer) RETURNS void
  LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
  UPDATE kiff.handovers
     SET refused = outcome, refusals = CASE WHEN seconds IS NULL THEN refusals + 1 ELSE refusals END,
         look_after = clock_timestamp() + coalesce(make_interval(secs => seconds),
           least(interval '1 hour', interval '1 minute' * 2 ^ least(refusals, 6)))
   WHERE log_id = of_log AND handover_hash = hash;
END;

-- Cuts a log over to the signer that the chain says it has, finally. Everything that was the old signer's ends in this one
-- transaction: what it signed beyond the acceptance can never stand on chain, and is signed again by the new one.
CREATE FUNCTION kiff.cut_over(of_log bytea, hash bytea) RETURNS void
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
            checkpoint = NULL, signed_at = NULL, tx_hash = NULL, block_number = NULL, block_hash = NULL, log_index = NULL,
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

-- Takes in what was seen of handovers: `events` are all events of our logs' handovers in the blocks up to `seen_to` that are not
-- known to be final; what is not among them any more, and was not final, falls back. Blocks up to `safe_to` are safe, up to
-- `final_to` final. `seen_to` of -1: these events and no word about others. Hex in `events` is without 0x.
-- Answers what changed. An accepted handover that becomes final is the cut-over, in this transaction.
CREATE FUNCTION kiff.see_handovers(events jsonb, seen_to bigint, safe_to bigint, final_to bigint)
  RETURNS TABLE (tenant text, handover_hash bytea, fact text, was text, level text, block bigint, known boolean)
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
  e record;
  h kiff.handovers;
  known_before boolean;
BEGIN
  FOR e IN
    SELECT x.fact, decode(x.log, 'hex') AS log, decode(x.hash, 'hex') AS hash, x.epoch, decode(x.from_signer, 'hex') AS from_signer,
           decode(x.to_signer, 'hex') AS to_signer, x.custody, x.not_before, x.expires_at, decode(x.nonce, 'hex') AS nonce,
           decode(x.from_signature, 'hex') AS from_signature, decode(x.to_signature, 'hex') AS to_signature, x.eta, x.seq,
           decode(x.head, 'hex') AS head, decode(x.accepted, 'hex') AS accepted, decode(x.signature, 'hex') AS signature,
           decode(x.tx, 'hex') AS tx, x.block, decode(x.block_hash, 'hex') AS block_hash, x.log_index, l.tenant,
           CASE WHEN x.block <= final_to THEN 'final' WHEN x.block <= safe_to THEN 'safe' ELSE 'included' END AS level
      FROM jsonb_to_recordset(events) AS x (fact text, log text, hash text, epoch integer, from_signer text, to_signer text,
             custody smallint, not_before bigint, expires_at bigint, nonce text, from_signature text, to_signature text, eta bigint,
             seq integer, head text, accepted text, signature text, tx text, block bigint, block_hash text, log_index integer)
      JOIN kiff.logs l ON l.log_id = decode(x.log, 'hex')
     ORDER BY x.block, x.log_index
  LOOP
    SELECT true INTO known_before FROM kiff.handovers k WHERE k.log_id = e.log AND k.handover_hash = e.hash;
    IF e.fact = 'proposed' THEN
      -- One that we have no row for was signed by others, or forgotten by this database.
      INSERT INTO kiff.handovers AS k (tenant, log_id, handover_hash, epoch_to, from_signer, to_signer, custody, not_before, expires_at,
                                       nonce, from_signature, to_signature)
        VALUES (e.tenant, e.log, e.hash, e.epoch, e.from_signer, e.to_signer, e.custody, e.not_before, e.expires_at, e.nonce,
                e.from_signature, e.to_signature)
        ON CONFLICT (log_id, handover_hash) DO UPDATE
          SET from_signature = coalesce(k.from_signature, excluded.from_signature),
              to_signature = coalesce(k.to_signature, excluded.to_signature);
    END IF;
    SELECT * INTO h FROM kiff.handovers k WHERE k.log_id = e.log AND k.handover_hash = e.hash FOR UPDATE;
    CONTINUE WHEN NOT FOUND; -- anybody may cancel what was never proposed
    tenant := e.tenant; handover_hash := e.hash; fact := e.fact; level := e.level; block := e.block; known := coalesce(known_before, false);
    was := CASE e.fact WHEN 'proposed' THEN h.proposed_level WHEN 'accepted' THEN h.accepted_level ELSE h.cancelled_level END;
    CONTINUE WHEN was = 'final';
    IF e.fact = 'proposed' THEN
      UPDATE kiff.handovers k
         SET proposed_level = e.level, proposed_tx = e.tx, proposed_block = e.block, proposed_block_hash = e.block_hash,
             proposed_log_index = e.log_index, eta = e.eta,
             refused = CASE WHEN was IS NULL THEN NULL ELSE refused END, refusals = CASE WHEN was IS NULL THEN 0 ELSE refusals END,
             look_after = CASE WHEN was IS NULL THEN '-infinity' ELSE look_after END
       WHERE k.log_id = e.log AND k.handover_hash = e.hash;
    ELSIF e.fact = 'accepted' THEN
      UPDATE kiff.handovers k
         SET accepted_level = e.level, accepted_tx = e.tx, accepted_block = e.block, accepted_block_hash = e.block_hash,
             accepted_log_index = e.log_index, accepted_seq = e.seq, accepted_hash = e.accepted, accepted_head = e.head,
             accepted_signature = CASE WHEN k.accept_hash = e.accepted THEN k.accept_signature ELSE e.signature END,
             refused = NULL, refusals = 0
       WHERE k.log_id = e.log AND k.handover_hash = e.hash;
      IF e.level = 'final' THEN
        PERFORM kiff.cut_over(e.log, e.hash);
      END IF;
    ELSE
      UPDATE kiff.handovers k
         SET cancelled_level = e.level, cancelled_tx = e.tx, cancelled_block = e.block, cancelled_block_hash = e.block_hash,
             cancelled_log_index = e.log_index, refused = NULL, refusals = 0
       WHERE k.log_id = e.log AND k.handover_hash = e.hash;
    END IF;
    IF was IS DISTINCT FROM level THEN
      RETURN NEXT;
    END IF;
  END LOOP;

  FOR e IN
    SELECT k.tenant, k.log_id, k.handover_hash, f.fact, f.level, f.block
      FROM kiff.handovers k
      CROSS JOIN LATERAL (VALUES ('proposed', k.proposed_level, k.proposed_block), ('accepted', k.accepted_level, k.accepted_block),
                                 ('cancelled', k.cancelled_level, k.cancelled_block)) AS f (fact, level, block)
     WHERE f.level IN ('included', 'safe') AND f.block <= seen_to
       AND NOT EXISTS (SELECT FROM jsonb_to_recordset(events) AS x (fact text, log text, hash text)
                        WHERE x.fact = f.fact AND x.log = encode(k.log_id, 'hex') AND x.hash = encode(k.handover_hash, 'hex'))
  LOOP
    IF e.fact = 'proposed' THEN
      UPDATE kiff.handovers k
         SET proposed_level = NULL, proposed_tx = NULL, proposed_block = NULL, proposed_block_hash = NULL, proposed_log_index = NULL,
             eta = NULL
       WHERE k.log_id = e.log_id AND k.handover_hash = e.handover_hash;
    ELSIF e.fact = 'accepted' THEN
      UPDATE kiff.handovers k
         SET accepted_level = NULL, accepted_tx = NULL, accepted_block = NULL, accepted_block_hash = NULL, accepted_log_index = NULL,
             accepted_seq = NULL, accepted_head = NULL, accepted_hash = NULL, accepted_signature = NULL
       WHERE k.log_id = e.log_id AND k.handover_hash = e.handover_hash;
    ELSE
      UPDATE kiff.handovers k
         SET cancelled_level = NULL, cancelled_tx = NULL, cancelled_block = NULL, cancelled_block_hash = NULL, cancelled_log_index = NULL
       WHERE k.log_id = e.log_id AND k.handover_hash = e.handover_hash;
    END IF;
    tenant := e.tenant; handover_hash := e.handover_hash; fact := e.fact; was := e.level; level := NULL; block := e.block; known := true;
    RETURN NEXT;
  END LOOP;
END $$;

-- The same for blocks that are final, up to `upto`: what is taken in here is not looked at again.
CREATE FUNCTION kiff.settle_handovers(chain bigint, wallet bytea, run text, events jsonb, upto bigint)
  RETURNS TABLE (tenant text, handover_hash bytea, fact text, was text, level text, block bigint, known boolean)
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  PERFORM kiff.assert_holder(chain, wallet, run);
  UPDATE kiff.wallets SET handovers_block = greatest(handovers_block, upto) WHERE chain_id = chain AND relayer = wallet;
  RETURN QUERY SELECT * FROM kiff.see_handovers(events, upto, upto, upto);
END $$;

-- Handovers that were not accepted up to a final block of this time can never be: everything up to it was taken in before.
CREATE FUNCTION kiff.lapse_handovers(chain bigint, wallet bytea, run text, at_block bigint, at_time bigint) RETURNS void
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  PERFORM kiff.assert_holder(chain, wallet, run);
  UPDATE kiff.handovers SET lapsed_block = at_block
   WHERE accepted_level IS NULL AND lapsed_block IS NULL AND expires_at < at_time;
END $$;

-- Every head that these logs had at these seqs, as far as we know: a seal's hash, and those of acceptances on top of it.
CREATE FUNCTION kiff.log_heads(tenants text[], seqs integer[]) RETURNS TABLE (tenant text, head bytea)
  LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  r record;
BEGIN
  FOR r IN SELECT * FROM unnest(tenants, seqs) AS u (tenant, seq) WHERE u.tenant ~ '^[a-z][a-z0-9]{2,23}$' LOOP
    RETURN QUERY EXECUTE format(
      'SELECT $1, s.seal_hash FROM kiff_t_%s.seals s WHERE s.seq = $2 AND s.seal_hash IS NOT NULL', r.tenant) USING r.tenant, r.seq;
    -- An acceptance counts when it is over a head of ours.
    RETURN QUERY SELECT h.tenant, h.accepted_hash FROM kiff.handovers h JOIN kiff.logs l USING (tenant, log_id)
                  WHERE h.tenant = r.tenant AND h.accepted_seq = r.seq AND h.accepted_head IS NOT NULL;
  END LOOP;
END $$;
DROP FUNCTION kiff.seal_hashes(text[], integer[]);

GRANT EXECUTE ON FUNCTION
  kiff.handover_calls(integer),
  kiff.refuse_handover_call(bytea, bytea, text, integer),
  kiff.see_handovers(jsonb, bigint, bigint, bigint),
  kiff.settle_handovers(bigint, bytea, text, jsonb, bigint),
  kiff.lapse_handovers(bigint, bytea, text, bigint, bigint),
  kiff.log_heads(text[], integer[])
TO kiff_anchoring;
