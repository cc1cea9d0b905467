-- What an operator's recovery adds to the journal, with a login of its own: the declaration without which the signer signs
-- nothing, statements rebuilt from the chain, and the order to end a log. The signer cannot write any of these three.

GRANT USAGE ON SCHEMA journal TO kiff_journal_recovery;

-- As in the product database (sql/product/013-incarnations.sql): a journal that was lost or restored is nobody's until it
-- has been compared with the chain and declared.
CREATE FUNCTION journal.database_identity() RETURNS text
  LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
  RETURN (SELECT c.system_identifier || '/' || d.oid
            FROM pg_control_system() c, pg_database d WHERE d.datname = current_database());

CREATE TABLE journal.incarnations (
  id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  name text NOT NULL UNIQUE CHECK (name ~ '^[a-z0-9][a-z0-9-]{0,63}$'),
  database_identity text NOT NULL DEFAULT journal.database_identity(),
  declared_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

CREATE FUNCTION journal.opened_as(incarnation text) RETURNS boolean
  LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
  RETURN coalesce((SELECT i.name = incarnation AND i.database_identity = journal.database_identity()
                     FROM journal.incarnations i ORDER BY i.id DESC LIMIT 1), false);
GRANT EXECUTE ON FUNCTION journal.opened_as(text) TO kiff_journal, kiff_journal_recovery;

-- A tenant's logs, one after the other.
ALTER TABLE journal.logs
  ADD COLUMN ordinal integer NOT NULL DEFAULT 1 CHECK (ordinal >= 1),
  ADD UNIQUE (tenant, ordinal, chain_id, contract);

-- Taken from the chain's events by a recovery, not stated by the signer: without a signature, and only ever of seals that
-- stand on chain.
ALTER TABLE journal.statements ADD COLUMN rebuilt boolean NOT NULL DEFAULT false;

-- The operator's word that a log ends, and what the comparison found: the last seal at which journal and chain agree, and
-- its block (for a log without a seal, the block from which on there was none). The newest order of a log counts.
CREATE TABLE journal.end_orders (
  id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  log_id bytea NOT NULL CHECK (octet_length(log_id) = 32),
  reason text NOT NULL CHECK (reason ~ '^[a-z]+(-[a-z]+)+$'),
  last_seq integer NOT NULL CHECK (last_seq >= 0),
  last_block bigint NOT NULL CHECK (last_block >= 0),
  ordered_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX end_orders_of_log ON journal.end_orders (log_id, id);

-- The end of a log, stated by the signer before it signs it. Nothing is stated for that log afterwards.
CREATE TABLE journal.ends (
  log_id bytea PRIMARY KEY REFERENCES journal.logs (log_id),
  seq integer NOT NULL CHECK (seq >= 0),
  seal_hash bytea NOT NULL CHECK (octet_length(seal_hash) = 32),
  tree_size bigint NOT NULL CHECK (tree_size >= 0),
  root bytea NOT NULL CHECK (octet_length(root) = 32),
  reason text NOT NULL,
  successor text NOT NULL,
  stated_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

CREATE TABLE journal.end_notes (
  log_id bytea PRIMARY KEY REFERENCES journal.ends (log_id),
  note text NOT NULL,
  signed_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- A statement extends the last one of its log or is refused, whatever the signer's code believes; none follows an end.
CREATE OR REPLACE FUNCTION journal.statement_extends() RETURNS trigger
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  last journal.statements;
  p integer;
BEGIN
  NEW.rebuilt := session_user = 'kiff_journal_recovery';
  -- One at a time for a log: what is last must still be last at commit.
  PERFORM FROM journal.logs l WHERE l.log_id = NEW.log_id FOR UPDATE;
  SELECT * INTO last FROM journal.statements s WHERE s.log_id = NEW.log_id ORDER BY s.seq DESC, s.epoch DESC LIMIT 1;
  IF FOUND AND NEW.epoch = last.epoch AND NEW.seq = last.seq THEN
    RETURN NEW; -- the primary key judges a repetition
  END IF;
  PERFORM FROM journal.ends e WHERE e.log_id = NEW.log_id;
  IF FOUND THEN
    RAISE EXCEPTION USING ERRCODE = 'KF042', MESSAGE = 'the log has ended';
  END IF;
  IF last.seq IS NULL THEN
    IF NEW.seq <> 1 OR (NEW.epoch = 0 AND NEW.prev <> decode(repeat('00', 32), 'hex')) THEN
      RAISE EXCEPTION USING ERRCODE = 'KF040', MESSAGE = 'a log begins with seq 1 after nothing';
    END IF;
    RETURN NEW;
  END IF;
  SELECT l.period_seconds INTO STRICT p FROM journal.logs l WHERE l.log_id = NEW.log_id;
  IF NEW.epoch < last.epoch OR NEW.seq <> last.seq + 1 OR NEW.period <> last.period + p
     OR NEW.tree_size < last.tree_size OR (NEW.tree_size = last.tree_size AND NEW.root <> last.root)
     OR (NEW.epoch = last.epoch AND NEW.prev <> last.seal_hash) THEN
    RAISE EXCEPTION USING ERRCODE = 'KF041', MESSAGE = 'the statement does not extend the last one';
  END IF;
  RETURN NEW;
END $$;

-- A tenant's next log exists only once the one before has ended.
CREATE FUNCTION journal.log_succeeds() RETURNS trigger
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  IF NEW.ordinal > 1 THEN
    PERFORM FROM journal.logs l JOIN journal.ends e ON e.log_id = l.log_id
     WHERE l.tenant = NEW.tenant AND l.ordinal = NEW.ordinal - 1 AND l.chain_id = NEW.chain_id
       AND l.contract = NEW.contract AND e.successor = NEW.origin;
    IF NOT FOUND THEN
      RAISE EXCEPTION USING ERRCODE = 'KF043', MESSAGE = 'the log before has not ended';
    END IF;
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER log_succeeds BEFORE INSERT ON journal.logs FOR EACH ROW EXECUTE FUNCTION journal.log_succeeds();

-- An end is an order's, for its reason, and names what was stated: a statement of this log, or its beginning.
CREATE FUNCTION journal.end_is_ordered() RETURNS trigger
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  PERFORM FROM journal.logs l WHERE l.log_id = NEW.log_id FOR UPDATE;
  PERFORM FROM (SELECT * FROM journal.end_orders o WHERE o.log_id = NEW.log_id ORDER BY o.id DESC LIMIT 1) o
    WHERE o.reason = NEW.reason AND o.last_seq = NEW.seq;
  IF NOT FOUND THEN
    RAISE EXCEPTION USING ERRCODE = 'KF044', MESSAGE = 'no operator has ordered this end';
  END IF;
  IF NEW.seq > 0 THEN
    PERFORM FROM journal.statements s
      WHERE s.log_id = NEW.log_id AND s.seq = NEW.seq AND s.seal_hash = NEW.seal_hash AND s.tree_size = NEW.tree_size
        AND s.root = NEW.root;
  ELSE
    -- SHA-256 of nothing: the root of an empty tree (RFC 9162 section 2.1.1).
    PERFORM WHERE NEW.seal_hash = decode(repeat('00', 32), 'hex') AND NEW.tree_size = 0 AND NEW.root = sha256('');
  END IF;
  IF NOT FOUND THEN
    RAISE EXCEPTION USING ERRCODE = 'KF045', MESSAGE = 'the end names a seal that was not stated';
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER end_is_ordered BEFORE INSERT ON journal.ends FOR EACH ROW EXECUTE FUNCTION journal.end_is_ordered();

GRANT SELECT ON journal.end_orders, journal.ends, journal.end_notes TO kiff_journal;
GRANT INSERT ON journal.ends, journal.end_notes TO kiff_journal;
GRANT SELECT ON ALL TABLES IN SCHEMA journal TO kiff_journal_recovery;
GRANT INSERT (name) ON journal.incarnations TO kiff_journal_recovery;
GRANT INSERT (log_id, reason, last_seq, last_block) ON journal.end_orders TO kiff_journal_recovery;
-- To rebuild a journal that was lost: identities, statements, and ends that had been signed.
GRANT INSERT ON journal.logs, journal.statements, journal.ends, journal.end_notes TO kiff_journal_recovery;
