-- The signer's own memory, in a database of its own that is never restored together with the tenants'.
-- Append-only: the signer's login may read and insert, nothing else. A statement is written before KMS is asked.

-- For this owner everywhere in this database: a default that is limited to a schema cannot take PUBLIC's EXECUTE away.
ALTER DEFAULT PRIVILEGES REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;

CREATE SCHEMA journal;
REVOKE ALL ON SCHEMA journal FROM PUBLIC;
GRANT USAGE ON SCHEMA journal TO kiff_journal;

CREATE TABLE journal.logs (
  log_id bytea PRIMARY KEY CHECK (octet_length(log_id) = 32),
  tenant text NOT NULL CHECK (tenant ~ '^[a-z][a-z0-9]{2,23}$'),
  origin text NOT NULL,
  genesis_signer bytea NOT NULL CHECK (octet_length(genesis_signer) = 20),
  chain_id bigint NOT NULL,
  contract bytea NOT NULL CHECK (octet_length(contract) = 20),
  period_seconds integer NOT NULL CHECK (period_seconds > 0),
  opened_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  UNIQUE (origin, chain_id, contract)
);

CREATE TABLE journal.statements (
  log_id bytea NOT NULL REFERENCES journal.logs (log_id),
  epoch integer NOT NULL CHECK (epoch >= 0),
  seq integer NOT NULL CHECK (seq >= 1),
  period bigint NOT NULL,
  tree_size bigint NOT NULL CHECK (tree_size >= 0),
  root bytea NOT NULL CHECK (octet_length(root) = 32),
  prev bytea NOT NULL CHECK (octet_length(prev) = 32),
  seal_hash bytea NOT NULL CHECK (octet_length(seal_hash) = 32),
  written_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (log_id, epoch, seq)
);

CREATE TABLE journal.signatures (
  log_id bytea NOT NULL,
  epoch integer NOT NULL,
  seq integer NOT NULL,
  signature bytea NOT NULL CHECK (octet_length(signature) = 65),
  checkpoint text NOT NULL,
  signed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (log_id, epoch, seq),
  FOREIGN KEY (log_id, epoch, seq) REFERENCES journal.statements (log_id, epoch, seq)
);

-- A statement extends the last one of its log or is refused, whatever the signer's code believes.
CREATE FUNCTION journal.statement_extends() RETURNS trigger
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  last journal.statements;
  p integer;
BEGIN
  -- One at a time for a log: what is last must still be last at commit.
  PERFORM FROM journal.logs l WHERE l.log_id = NEW.log_id FOR UPDATE;
  SELECT * INTO last FROM journal.statements s WHERE s.log_id = NEW.log_id ORDER BY s.seq DESC, s.epoch DESC LIMIT 1;
  IF NOT FOUND THEN
    IF NEW.seq <> 1 OR NEW.prev <> decode(repeat('00', 32), 'hex') THEN
      RAISE EXCEPTION USING ERRCODE = 'KF040', MESSAGE = 'a log begins with seq 1 after nothing';
    END IF;
    RETURN NEW;
  END IF;
  IF NEW.epoch = last.epoch AND NEW.seq = last.seq THEN
    RETURN NEW; -- the primary key judges a repetition
  END IF;
  SELECT l.period_seconds INTO STRICT p FROM journal.logs l WHERE l.log_id = NEW.log_id;
  IF NEW.epoch < last.epoch OR NEW.seq <> last.seq + 1 OR NEW.period <> last.period + p
     OR NEW.tree_size < last.tree_size OR (NEW.tree_size = last.tree_size AND NEW.root <> last.root)
     OR (NEW.epoch = last.epoch AND NEW.prev <> last.seal_hash) THEN
    RAISE EXCEPTION USING ERRCODE = 'KF041', MESSAGE = 'the statement does not extend the last one';
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER statement_extends BEFORE INSERT ON journal.statements
  FOR EACH ROW EXECUTE FUNCTION journal.statement_extends();

GRANT SELECT, INSERT ON journal.logs, journal.statements, journal.signatures TO kiff_journal;
