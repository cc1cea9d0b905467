-- Custody in the signer's own memory (design section 7): what it has agreed to before any key signs it, and which key a log's
-- statements are of. Append-only like everything here. Past 10 KB because its rules hold each other and are read together.

-- A statement of possession, each nonce once.
CREATE TABLE journal.proofs (
  log_id bytea NOT NULL REFERENCES journal.logs (log_id),
  nonce bytea PRIMARY KEY CHECK (octet_length(nonce) = 32),
  new_signer bytea NOT NULL CHECK (octet_length(new_signer) = 20),
  expires_at bigint NOT NULL,
  struct_hash bytea NOT NULL CHECK (octet_length(struct_hash) = 32),
  written_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- What the new signer signs on trial: seals that stand in this journal as statements of the old one, and nothing else.
CREATE TABLE journal.shadows (
  log_id bytea NOT NULL,
  nonce bytea NOT NULL CHECK (octet_length(nonce) = 32),
  epoch integer NOT NULL,
  seq integer NOT NULL,
  new_signer bytea NOT NULL CHECK (octet_length(new_signer) = 20),
  written_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (log_id, nonce, seq),
  FOREIGN KEY (log_id, epoch, seq) REFERENCES journal.statements (log_id, epoch, seq)
);

-- The terms of a handover, once for each migration. By themselves they are nothing: only the old key's signature gives them life.
CREATE TABLE journal.handovers (
  log_id bytea NOT NULL REFERENCES journal.logs (log_id),
  handover_hash bytea NOT NULL CHECK (octet_length(handover_hash) = 32),
  epoch_to integer NOT NULL CHECK (epoch_to >= 1),
  from_signer bytea NOT NULL CHECK (octet_length(from_signer) = 20),
  to_signer bytea NOT NULL CHECK (octet_length(to_signer) = 20 AND to_signer <> from_signer),
  custody smallint NOT NULL CHECK (custody BETWEEN 1 AND 3),
  not_before bigint NOT NULL,
  expires_at bigint NOT NULL CHECK (expires_at > not_before),
  nonce bytea NOT NULL CHECK (octet_length(nonce) = 32),
  -- The new key's alias or ARN; null for a key that we never call.
  key_ref text CHECK (length(key_ref) <= 2048),
  rebuilt boolean NOT NULL DEFAULT false,
  written_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (log_id, handover_hash),
  UNIQUE (log_id, nonce)
);

-- Written before the old key is asked: from here on the handover lives, until it is cancelled on chain or has expired.
CREATE TABLE journal.releases (
  log_id bytea NOT NULL,
  handover_hash bytea NOT NULL,
  written_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (log_id, handover_hash),
  FOREIGN KEY (log_id, handover_hash) REFERENCES journal.handovers (log_id, handover_hash)
);

-- Written before the new key is asked: the point of no return. `head` is the log's head that it binds to.
CREATE TABLE journal.acceptances (
  log_id bytea NOT NULL,
  handover_hash bytea NOT NULL,
  seq integer NOT NULL CHECK (seq >= 0),
  head bytea NOT NULL CHECK (octet_length(head) = 32),
  struct_hash bytea NOT NULL CHECK (octet_length(struct_hash) = 32),
  written_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (log_id, handover_hash),
  FOREIGN KEY (log_id, handover_hash) REFERENCES journal.releases (log_id, handover_hash)
);

CREATE TABLE journal.cancellations (
  log_id bytea NOT NULL,
  handover_hash bytea NOT NULL,
  struct_hash bytea NOT NULL CHECK (octet_length(struct_hash) = 32),
  written_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (log_id, handover_hash),
  FOREIGN KEY (log_id, handover_hash) REFERENCES journal.releases (log_id, handover_hash)
);

-- That a handover can never be accepted any more, as the signer read it in a final block: what makes room for another one.
CREATE TABLE journal.dead_handovers (
  log_id bytea NOT NULL,
  handover_hash bytea NOT NULL,
  why text NOT NULL CHECK (why IN ('cancelled', 'expired')),
  block bigint NOT NULL,
  -- Of that block, Unix seconds.
  block_time bigint NOT NULL,
  written_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (log_id, handover_hash),
  FOREIGN KEY (log_id, handover_hash) REFERENCES journal.handovers (log_id, handover_hash)
);

-- Who signs from which point on, as a final HandoverAccepted says. Epoch 0 is the log's genesis signer and has no row.
CREATE TABLE journal.successions (
  log_id bytea NOT NULL REFERENCES journal.logs (log_id),
  epoch integer NOT NULL CHECK (epoch >= 1),
  signer bytea NOT NULL CHECK (octet_length(signer) = 20),
  custody smallint NOT NULL CHECK (custody BETWEEN 1 AND 3),
  key_ref text CHECK (length(key_ref) <= 2048),
  handover_hash bytea NOT NULL CHECK (octet_length(handover_hash) = 32),
  accept_seq integer NOT NULL CHECK (accept_seq >= 0),
  -- The acceptance's struct hash: the log's head after it.
  head bytea NOT NULL CHECK (octet_length(head) = 32),
  accepted_block bigint NOT NULL,
  rebuilt boolean NOT NULL DEFAULT false,
  written_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (log_id, epoch)
);

-- Of proofs, shadow seals, handovers, acceptances and cancellations: the first that a key gave stands.
CREATE TABLE journal.custody_signatures (
  log_id bytea NOT NULL REFERENCES journal.logs (log_id),
  struct_hash bytea NOT NULL CHECK (octet_length(struct_hash) = 32),
  signer bytea NOT NULL CHECK (octet_length(signer) = 20),
  signature bytea NOT NULL CHECK (octet_length(signature) = 65),
  signed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (log_id, struct_hash, signer)
);

-- Statements that a later succession has not made void: it may begin before what the old key had signed and not anchored.
CREATE VIEW journal.standing AS
  SELECT s.* FROM journal.statements s
   WHERE NOT EXISTS (SELECT FROM journal.successions x
                      WHERE x.log_id = s.log_id AND x.epoch > s.epoch AND x.accept_seq < s.seq);

-- A log's standing: its epoch and signer, and the seq and hash of its head.
CREATE FUNCTION journal.head_of(of_log bytea, OUT epoch integer, OUT signer bytea, OUT seq integer, OUT head bytea)
  LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
  SELECT coalesce(x.epoch, 0), coalesce(x.signer, l.genesis_signer), coalesce(s.seq, 0),
         CASE WHEN s.epoch = coalesce(x.epoch, 0) THEN s.seal_hash ELSE coalesce(x.head, decode(repeat('00', 32), 'hex')) END
    FROM journal.logs l
    LEFT JOIN LATERAL (SELECT * FROM journal.successions i WHERE i.log_id = l.log_id ORDER BY i.epoch DESC LIMIT 1) x ON true
    LEFT JOIN LATERAL (SELECT * FROM journal.standing i WHERE i.log_id = l.log_id ORDER BY i.seq DESC LIMIT 1) s ON true
   WHERE l.log_id = of_log;
END;

-- Whether an acceptance is on its way: it binds to the head, so nothing new may come before it.
CREATE FUNCTION journal.is_held(of_log bytea) RETURNS boolean
  LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
  RETURN EXISTS (
    SELECT FROM journal.acceptances a JOIN journal.handovers h USING (log_id, handover_hash)
     WHERE a.log_id = of_log AND h.epoch_to = (SELECT n.epoch + 1 FROM journal.head_of(of_log) n)
       AND NOT EXISTS (SELECT FROM journal.dead_handovers d WHERE d.log_id = a.log_id AND d.handover_hash = a.handover_hash));

-- A statement extends what stands of its log, in the epoch that it is in, or is refused, whatever the signer's code believes;
-- none follows an end, and none goes between an acceptance and the head that it binds to.
CREATE OR REPLACE FUNCTION journal.statement_extends() RETURNS trigger
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  last journal.statements;
  now record;
  p integer;
BEGIN
  NEW.rebuilt := session_user = 'kiff_journal_recovery';
  -- One at a time for a log: what is last must still be last at commit.
  SELECT l.period_seconds INTO p FROM journal.logs l WHERE l.log_id = NEW.log_id FOR UPDATE;
  PERFORM FROM journal.statements s WHERE s.log_id = NEW.log_id AND s.epoch = NEW.epoch AND s.seq = NEW.seq;
  IF FOUND THEN
    RETURN NEW; -- the primary key judges a repetition
  END IF;
  PERFORM FROM journal.ends e WHERE e.log_id = NEW.log_id;
  IF FOUND THEN
    RAISE EXCEPTION USING ERRCODE = 'KF042', MESSAGE = 'the log has ended';
  END IF;
  SELECT * INTO now FROM journal.head_of(NEW.log_id);
  IF NEW.epoch <> now.epoch THEN
    RAISE EXCEPTION USING ERRCODE = 'KF046', MESSAGE = 'the statement is not of the epoch that the log is in';
  END IF;
  IF journal.is_held(NEW.log_id) THEN
    RAISE EXCEPTION USING ERRCODE = 'KF047', MESSAGE = 'an acceptance binds to the head';
  END IF;
  IF now.seq = 0 THEN
    IF NEW.seq <> 1 OR NEW.prev <> now.head THEN
      RAISE EXCEPTION USING ERRCODE = 'KF040', MESSAGE = 'a log begins with seq 1 after nothing';
    END IF;
    RETURN NEW;
  END IF;
  SELECT s.* INTO STRICT last FROM journal.standing s WHERE s.log_id = NEW.log_id AND s.seq = now.seq;
  IF NEW.seq <> last.seq + 1 OR NEW.period <> last.period + p OR NEW.prev <> now.head
     OR NEW.tree_size < last.tree_size OR (NEW.tree_size = last.tree_size AND NEW.root <> last.root) THEN
    RAISE EXCEPTION USING ERRCODE = 'KF041', MESSAGE = 'the statement does not extend the last one';
  END IF;
  RETURN NEW;
END $$;

CREATE FUNCTION journal.marks_rebuilt() RETURNS trigger
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  NEW.rebuilt := session_user = 'kiff_journal_recovery';
  RETURN NEW;
END $$;
CREATE TRIGGER marks_rebuilt BEFORE INSERT ON journal.handovers FOR EACH ROW EXECUTE FUNCTION journal.marks_rebuilt();

-- At most one handover of a log lives: of its next epoch, from its signer, and none beside it that is not known dead.
CREATE FUNCTION journal.release_is_alone() RETURNS trigger
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  h journal.handovers;
  now record;
BEGIN
  PERFORM FROM journal.logs l WHERE l.log_id = NEW.log_id FOR UPDATE;
  PERFORM FROM journal.releases r WHERE r.log_id = NEW.log_id AND r.handover_hash = NEW.handover_hash;
  IF FOUND THEN
    RETURN NEW;
  END IF;
  PERFORM FROM journal.ends e WHERE e.log_id = NEW.log_id;
  IF FOUND THEN
    RAISE EXCEPTION USING ERRCODE = 'KF042', MESSAGE = 'the log has ended';
  END IF;
  SELECT * INTO h FROM journal.handovers i WHERE i.log_id = NEW.log_id AND i.handover_hash = NEW.handover_hash;
  SELECT * INTO now FROM journal.head_of(NEW.log_id);
  IF h.epoch_to IS DISTINCT FROM now.epoch + 1 OR h.from_signer IS DISTINCT FROM now.signer THEN
    RAISE EXCEPTION USING ERRCODE = 'KF048', MESSAGE = 'the handover does not follow the epoch that the log is in';
  END IF;
  -- A recovery finds what lives, and may find more than one: they were signed.
  IF session_user = 'kiff_journal_recovery' THEN
    RETURN NEW;
  END IF;
  PERFORM FROM journal.dead_handovers d WHERE d.log_id = NEW.log_id AND d.handover_hash = NEW.handover_hash;
  IF FOUND THEN
    RAISE EXCEPTION USING ERRCODE = 'KF049', MESSAGE = 'the handover is dead';
  END IF;
  PERFORM FROM journal.releases r JOIN journal.handovers o USING (log_id, handover_hash)
    WHERE r.log_id = NEW.log_id AND o.epoch_to = h.epoch_to
      AND NOT EXISTS (SELECT FROM journal.dead_handovers d WHERE d.log_id = r.log_id AND d.handover_hash = r.handover_hash);
  IF FOUND THEN
    RAISE EXCEPTION USING ERRCODE = 'KF090', MESSAGE = 'another handover to this epoch lives';
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER release_is_alone BEFORE INSERT ON journal.releases FOR EACH ROW EXECUTE FUNCTION journal.release_is_alone();

-- An acceptance binds to the head that stands, of a handover that lives and was not cancelled.
CREATE FUNCTION journal.acceptance_binds() RETURNS trigger
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  h journal.handovers;
  now record;
BEGIN
  PERFORM FROM journal.logs l WHERE l.log_id = NEW.log_id FOR UPDATE;
  PERFORM FROM journal.acceptances a WHERE a.log_id = NEW.log_id AND a.handover_hash = NEW.handover_hash;
  IF FOUND THEN
    RETURN NEW;
  END IF;
  SELECT * INTO h FROM journal.handovers i WHERE i.log_id = NEW.log_id AND i.handover_hash = NEW.handover_hash;
  SELECT * INTO now FROM journal.head_of(NEW.log_id);
  IF h.epoch_to IS DISTINCT FROM now.epoch + 1 OR h.from_signer IS DISTINCT FROM now.signer THEN
    RAISE EXCEPTION USING ERRCODE = 'KF048', MESSAGE = 'the handover does not follow the epoch that the log is in';
  END IF;
  PERFORM FROM journal.dead_handovers d WHERE d.log_id = NEW.log_id AND d.handover_hash = NEW.handover_hash;
  IF FOUND THEN
    RAISE EXCEPTION USING ERRCODE = 'KF049', MESSAGE = 'the handover is dead';
  END IF;
  PERFORM FROM journal.cancellations c WHERE c.log_id = NEW.log_id AND c.handover_hash = NEW.handover_hash;
  IF FOUND THEN
    RAISE EXCEPTION USING ERRCODE = 'KF049', MESSAGE = 'the handover was cancelled';
  END IF;
  IF (NEW.seq, NEW.head) IS DISTINCT FROM (now.seq, now.head) AND session_user <> 'kiff_journal_recovery' THEN
    RAISE EXCEPTION USING ERRCODE = 'KF091', MESSAGE = 'the acceptance does not bind to the head';
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER acceptance_binds BEFORE INSERT ON journal.acceptances FOR EACH ROW EXECUTE FUNCTION journal.acceptance_binds();

-- Past the point of no return nothing is cancelled by us.
CREATE FUNCTION journal.cancellation_is_in_time() RETURNS trigger
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  PERFORM FROM journal.logs l WHERE l.log_id = NEW.log_id FOR UPDATE;
  PERFORM FROM journal.acceptances a WHERE a.log_id = NEW.log_id AND a.handover_hash = NEW.handover_hash;
  IF FOUND THEN
    RAISE EXCEPTION USING ERRCODE = 'KF092', MESSAGE = 'the handover is past the point of no return';
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER cancellation_is_in_time BEFORE INSERT ON journal.cancellations
  FOR EACH ROW EXECUTE FUNCTION journal.cancellation_is_in_time();

-- Dead is what was cancelled, or what the chain's final time has left behind; never what was accepted.
CREATE FUNCTION journal.death_is_certain() RETURNS trigger
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  PERFORM FROM journal.logs l WHERE l.log_id = NEW.log_id FOR UPDATE;
  PERFORM FROM journal.successions x WHERE x.log_id = NEW.log_id AND x.handover_hash = NEW.handover_hash;
  IF FOUND THEN
    RAISE EXCEPTION USING ERRCODE = 'KF093', MESSAGE = 'the handover was accepted';
  END IF;
  PERFORM FROM journal.handovers h
    WHERE h.log_id = NEW.log_id AND h.handover_hash = NEW.handover_hash AND NEW.why = 'expired' AND NEW.block_time <= h.expires_at;
  IF FOUND THEN
    RAISE EXCEPTION USING ERRCODE = 'KF093', MESSAGE = 'the handover has not expired';
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER death_is_certain BEFORE INSERT ON journal.dead_handovers FOR EACH ROW EXECUTE FUNCTION journal.death_is_certain();

-- A succession is of the next epoch, to somebody else, and begins where this journal's own statements stand.
CREATE FUNCTION journal.succession_follows() RETURNS trigger
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  now record;
BEGIN
  NEW.rebuilt := session_user = 'kiff_journal_recovery';
  PERFORM FROM journal.logs l WHERE l.log_id = NEW.log_id FOR UPDATE;
  PERFORM FROM journal.successions x WHERE x.log_id = NEW.log_id AND x.epoch = NEW.epoch;
  IF FOUND THEN
    RETURN NEW; -- the primary key judges a repetition
  END IF;
  PERFORM FROM journal.ends e WHERE e.log_id = NEW.log_id;
  IF FOUND THEN
    RAISE EXCEPTION USING ERRCODE = 'KF042', MESSAGE = 'the log has ended';
  END IF;
  SELECT * INTO now FROM journal.head_of(NEW.log_id);
  IF NEW.epoch <> now.epoch + 1 OR NEW.signer = now.signer OR NEW.accept_seq > now.seq
     OR NEW.accept_seq < coalesce((SELECT max(x.accept_seq) FROM journal.successions x WHERE x.log_id = NEW.log_id), 0) THEN
    RAISE EXCEPTION USING ERRCODE = 'KF094', MESSAGE = 'the succession does not follow what stands';
  END IF;
  PERFORM FROM journal.dead_handovers d WHERE d.log_id = NEW.log_id AND d.handover_hash = NEW.handover_hash;
  IF FOUND THEN
    RAISE EXCEPTION USING ERRCODE = 'KF094', MESSAGE = 'the handover was known dead';
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER succession_follows BEFORE INSERT ON journal.successions FOR EACH ROW EXECUTE FUNCTION journal.succession_follows();

GRANT SELECT, INSERT ON journal.proofs, journal.shadows, journal.handovers, journal.releases, journal.acceptances,
  journal.cancellations, journal.dead_handovers, journal.successions, journal.custody_signatures TO kiff_journal;
GRANT SELECT ON journal.standing TO kiff_journal, kiff_journal_recovery;
GRANT EXECUTE ON FUNCTION journal.head_of(bytea), journal.is_held(bytea) TO kiff_journal, kiff_journal_recovery;
-- To rebuild a journal that was lost: successions, and handovers that may still live.
GRANT SELECT ON journal.proofs, journal.shadows, journal.handovers, journal.releases, journal.acceptances,
  journal.cancellations, journal.dead_handovers, journal.successions, journal.custody_signatures TO kiff_journal_recovery;
GRANT INSERT ON journal.handovers, journal.releases, journal.acceptances, journal.successions TO kiff_journal_recovery;
