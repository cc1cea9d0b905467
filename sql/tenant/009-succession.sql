-- What the old signer signed beyond a succession is void: only then may a seal's signature be taken back, so that the new signer
-- signs it. And nothing of an old epoch is recorded once the log is cut over.

CREATE OR REPLACE FUNCTION kiff_t_{{tenant}}.seal_keeps_its_facts() RETURNS trigger
  LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  IF (NEW.seq, NEW.period, NEW.tree_size) IS DISTINCT FROM (OLD.seq, OLD.period, OLD.tree_size)
     OR (OLD.root IS NOT NULL AND NEW.root IS DISTINCT FROM OLD.root)
     OR (OLD.signature IS NOT NULL AND
         (NEW.prev, NEW.seal_hash, NEW.epoch, NEW.signer, NEW.signature, NEW.checkpoint) IS DISTINCT FROM
         (OLD.prev, OLD.seal_hash, OLD.epoch, OLD.signer, OLD.signature, OLD.checkpoint)
         AND (NEW.signature IS NOT NULL OR OLD.level = 'final' OR NOT EXISTS (
           SELECT FROM kiff.logs l JOIN kiff.handovers h ON h.tenant = l.tenant AND h.log_id = l.log_id
            WHERE l.tenant = '{{tenant}}' AND h.accepted_level = 'final' AND h.accepted_seq < OLD.seq AND h.epoch_to > OLD.epoch)))
     OR (OLD.level = 'final' AND
         (NEW.level, NEW.tx_hash, NEW.block_number, NEW.block_hash, NEW.log_index) IS DISTINCT FROM
         (OLD.level, OLD.tx_hash, OLD.block_number, OLD.block_hash, OLD.log_index)) THEN
    RAISE EXCEPTION USING ERRCODE = 'KF030', MESSAGE = 'a fixed fact of a seal cannot be changed';
  END IF;
  RETURN NEW;
END $$;

-- As before. The log's row is locked first, as the cut-over does: what comes after it is of its epoch.
CREATE OR REPLACE FUNCTION kiff_t_{{tenant}}.record_signature(seal_seq integer, seal_prev bytea, hash bytea, seal_epoch integer,
                                                              seal_signer bytea, sig bytea, note text) RETURNS void
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  epoch_now integer;
BEGIN
  SELECT l.epoch INTO epoch_now FROM kiff.logs l WHERE l.tenant = '{{tenant}}' FOR UPDATE;
  UPDATE kiff_t_{{tenant}}.seals
     SET prev = seal_prev, seal_hash = hash, epoch = seal_epoch, signer = seal_signer, signature = sig, checkpoint = note,
         signed_at = clock_timestamp(), level = 'sealed'
   WHERE seq = seal_seq AND level = 'hashed' AND seal_epoch >= epoch_now;
  IF NOT FOUND THEN
    PERFORM FROM kiff_t_{{tenant}}.seals s WHERE s.seq = seal_seq AND s.seal_hash = hash AND s.signature IS NOT NULL;
    IF NOT FOUND THEN
      IF seal_epoch < epoch_now THEN
        RAISE EXCEPTION USING ERRCODE = 'KF009', MESSAGE = 'the log has another signer by now';
      END IF;
      RAISE EXCEPTION USING ERRCODE = 'KF006', MESSAGE = 'another statement stands for this seq';
    END IF;
  END IF;
  UPDATE kiff.logs SET signed_seq = greatest(signed_seq, seal_seq) WHERE tenant = '{{tenant}}';
END $$;
