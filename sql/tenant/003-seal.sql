-- The cut, the root and the signature: the three writes that turn records into a seal.

-- The first leaf index whose record was received at `moment` or later. Order of index is order of time, so this is a
-- binary search over the primary key; `low` is a size that is known to be before it.
CREATE FUNCTION kiff_t_{{tenant}}.size_before(moment timestamptz, low bigint, high bigint) RETURNS bigint
  LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  mid bigint;
  at timestamptz;
BEGIN
  WHILE low < high LOOP
    mid := (low + high) / 2;
    SELECT r.received_at INTO STRICT at FROM kiff_t_{{tenant}}.records r WHERE r.leaf_index = mid;
    IF at < moment THEN low := mid + 1; ELSE high := mid; END IF;
  END LOOP;
  RETURN low;
END $$;

-- Collects every period after the last one up to `up_to`, at most 1,000 a call (call again while the last row's period
-- is before `up_to`). The cut writes: it moves the head's time to the period's end under the head's lock, so nothing
-- can be dated before that end afterwards, and a repeated cut reads the same. Answers the newest collected seal.
CREATE FUNCTION kiff_t_{{tenant}}.collect(up_to bigint) RETURNS TABLE (seq integer, period bigint, tree_size bigint)
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
  p integer;
  next_period bigint;
  next_seq integer;
  cut bigint;
  head_size bigint;
  last_end timestamptz;
BEGIN
  SELECT h.size INTO STRICT head_size FROM kiff_t_{{tenant}}.log_head h FOR UPDATE;
  SELECT d.period_seconds INTO STRICT p FROM kiff.deployment d;
  IF up_to % p <> 0 THEN
    RAISE EXCEPTION USING ERRCODE = 'KF003', MESSAGE = 'not the first second of a period';
  END IF;
  SELECT s.period + p, s.seq + 1, s.tree_size INTO next_period, next_seq, cut
    FROM kiff_t_{{tenant}}.seals s ORDER BY s.seq DESC LIMIT 1;
  IF NOT FOUND THEN
    SELECT l.first_period, 1, 0 INTO next_period, next_seq, cut FROM kiff.logs l WHERE l.tenant = '{{tenant}}';
    IF next_period IS NULL THEN
      RAISE EXCEPTION USING ERRCODE = 'KF005', MESSAGE = 'the log is not active';
    END IF;
  END IF;

  -- A cut that stands is answered without a look at the clock, which may have gone back since.
  IF next_period <= up_to THEN
    IF clock_timestamp() < to_timestamp(up_to + p) THEN
      RAISE EXCEPTION USING ERRCODE = 'KF004', MESSAGE = 'the period is not over';
    END IF;
    last_end := to_timestamp(least(up_to, next_period + 999::bigint * p) + p);
    UPDATE kiff_t_{{tenant}}.log_head SET last_received_at = greatest(last_received_at, last_end);
    WHILE to_timestamp(next_period + p) <= last_end LOOP
      cut := kiff_t_{{tenant}}.size_before(to_timestamp(next_period + p), cut, head_size);
      INSERT INTO kiff_t_{{tenant}}.seals (seq, period, tree_size) VALUES (next_seq, next_period, cut);
      next_period := next_period + p;
      next_seq := next_seq + 1;
    END LOOP;
  END IF;

  RETURN QUERY SELECT s.seq, s.period, s.tree_size FROM kiff_t_{{tenant}}.seals s ORDER BY s.seq DESC LIMIT 1;
END $$;
GRANT EXECUTE ON FUNCTION kiff_t_{{tenant}}.collect(bigint) TO kiff_sealing;

-- Records a period's root. The first one stands; the same root again is the same fact, another one is refused.
CREATE FUNCTION kiff_t_{{tenant}}.record_root(seal_seq integer, tree_root bytea) RETURNS void
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  UPDATE kiff_t_{{tenant}}.seals SET root = tree_root, level = 'hashed' WHERE seq = seal_seq AND level = 'collected';
  IF NOT FOUND THEN
    PERFORM FROM kiff_t_{{tenant}}.seals s WHERE s.seq = seal_seq AND s.root = tree_root;
    IF NOT FOUND THEN
      RAISE EXCEPTION USING ERRCODE = 'KF007', MESSAGE = 'another root stands for this seq';
    END IF;
  END IF;
END $$;
GRANT EXECUTE ON FUNCTION kiff_t_{{tenant}}.record_root(integer, bytea) TO kiff_sealing;

-- Records what the signer signed. The first signature stands; a second one over the same statement is the same seal.
CREATE FUNCTION kiff_t_{{tenant}}.record_signature(seal_seq integer, seal_prev bytea, hash bytea, seal_epoch integer,
                                                   seal_signer bytea, sig bytea, note text) RETURNS void
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  UPDATE kiff_t_{{tenant}}.seals
     SET prev = seal_prev, seal_hash = hash, epoch = seal_epoch, signer = seal_signer, signature = sig, checkpoint = note,
         signed_at = clock_timestamp(), level = 'sealed'
   WHERE seq = seal_seq AND level = 'hashed';
  IF NOT FOUND THEN
    PERFORM FROM kiff_t_{{tenant}}.seals s WHERE s.seq = seal_seq AND s.seal_hash = hash AND s.signature IS NOT NULL;
    IF NOT FOUND THEN
      RAISE EXCEPTION USING ERRCODE = 'KF006', MESSAGE = 'another statement stands for this seq';
    END IF;
  END IF;
  UPDATE kiff.logs SET signed_seq = greatest(signed_seq, seal_seq) WHERE tenant = '{{tenant}}';
END $$;
GRANT EXECUTE ON FUNCTION kiff_t_{{tenant}}.record_signature(integer, bytea, bytea, integer, bytea, bytea, text) TO kiff_signing;
