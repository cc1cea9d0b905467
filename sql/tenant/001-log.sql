-- One tenant's log. {{tenant}} is the tenant's id, checked against [a-z][a-z0-9]{2,23} before it is put in here.
-- Six tables and no more: every connection that touches a schema pays for its catalogue entries.

CREATE SCHEMA kiff_t_{{tenant}};
REVOKE ALL ON SCHEMA kiff_t_{{tenant}} FROM PUBLIC;
GRANT USAGE ON SCHEMA kiff_t_{{tenant}} TO kiff_t_{{tenant}}, kiff_sealing, kiff_signing;

-- The head serialises everything that gives records their order: whoever holds its row lock is alone.
CREATE TABLE kiff_t_{{tenant}}.log_head (
  only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
  size bigint NOT NULL DEFAULT 0 CHECK (size >= 0),
  last_received_at timestamptz(3) NOT NULL DEFAULT '-infinity'
) WITH (fillfactor = 10); -- one hot row: leave room for HOT updates
INSERT INTO kiff_t_{{tenant}}.log_head DEFAULT VALUES;

-- What the tree is built from. No foreign key joins bodies to records: accept() is the only writer of both, and the
-- per-row trigger would cost about a third of the insert.
CREATE TABLE kiff_t_{{tenant}}.records (
  leaf_index bigint PRIMARY KEY CHECK (leaf_index >= 0),
  id text COLLATE "C" NOT NULL UNIQUE CHECK (id ~ '^[A-Za-z0-9._:-]{1,128}$'),
  received_at timestamptz(3) NOT NULL,
  entry bytea NOT NULL,
  leaf_hash bytea NOT NULL,
  -- RFC 9162 section 2.1.1: the leaf's hash has the prefix 0x00.
  CONSTRAINT leaf_hash_of_entry CHECK (leaf_hash = sha256('\x00'::bytea || entry))
);
ALTER TABLE kiff_t_{{tenant}}.records ALTER COLUMN entry SET STORAGE EXTERNAL;

-- What can be erased. Salt and body go together; without the salt the commitment in the entry says nothing.
CREATE TABLE kiff_t_{{tenant}}.bodies (
  leaf_index bigint PRIMARY KEY,
  salt bytea NOT NULL CHECK (octet_length(salt) = 32),
  body bytea NOT NULL,
  -- Where the record's own bytes begin inside the body; they end one byte before its end.
  record_offset integer NOT NULL CHECK (record_offset > 0 AND record_offset < octet_length(body))
);

-- C2SP tlog-tiles: level 0 holds leaf hashes, level n the roots of full tiles of level n-1; 256 hashes wide at most.
CREATE TABLE kiff_t_{{tenant}}.tiles (
  level smallint NOT NULL CHECK (level BETWEEN 0 AND 7),
  index bigint NOT NULL CHECK (index >= 0),
  hashes bytea NOT NULL CHECK (octet_length(hashes) BETWEEN 32 AND 8192 AND octet_length(hashes) % 32 = 0),
  PRIMARY KEY (level, index)
);
ALTER TABLE kiff_t_{{tenant}}.tiles ALTER COLUMN hashes SET STORAGE EXTERNAL;

-- A seal's life: collected (period and size are facts) -> hashed (root) -> sealed (signed) -> included -> safe -> final.
CREATE TABLE kiff_t_{{tenant}}.seals (
  seq integer PRIMARY KEY CHECK (seq BETWEEN 1 AND 16777215),
  period bigint NOT NULL UNIQUE CHECK (period >= 0),
  tree_size bigint NOT NULL CHECK (tree_size >= 0),
  level text NOT NULL DEFAULT 'collected'
    CHECK (level IN ('collected', 'hashed', 'sealed', 'included', 'safe', 'final')),
  root bytea CHECK (octet_length(root) = 32),
  prev bytea CHECK (octet_length(prev) = 32),
  seal_hash bytea CHECK (octet_length(seal_hash) = 32),
  epoch integer CHECK (epoch >= 0),
  signer bytea CHECK (octet_length(signer) = 20),
  signature bytea CHECK (octet_length(signature) = 65),
  checkpoint text,
  tx_hash bytea CHECK (octet_length(tx_hash) = 32),
  block_number bigint,
  block_hash bytea CHECK (octet_length(block_hash) = 32),
  log_index integer,
  refused text,
  collected_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  signed_at timestamptz,
  included_at timestamptz,
  final_at timestamptz,
  CHECK ((level = 'collected') = (root IS NULL)),
  CHECK ((level IN ('collected', 'hashed')) = (signature IS NULL)),
  CHECK (num_nulls(prev, seal_hash, epoch, signer, signature, signed_at) IN (0, 6)),
  CHECK ((level IN ('included', 'safe', 'final')) = (tx_hash IS NOT NULL)),
  CHECK (num_nulls(tx_hash, block_number, block_hash, log_index) IN (0, 4))
);
CREATE INDEX seals_open ON kiff_t_{{tenant}}.seals (seq) WHERE level <> 'final';

CREATE TABLE kiff_t_{{tenant}}.events (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  at timestamptz NOT NULL DEFAULT clock_timestamp(),
  kind text NOT NULL CHECK (kind ~ '^[a-z][a-z.-]{2,63}$'),
  detail jsonb NOT NULL DEFAULT '{}'
);

-- What was once fixed stays: a retried, repeated or stale writer can add to a seal, never change it.
CREATE FUNCTION kiff_t_{{tenant}}.seal_keeps_its_facts() RETURNS trigger
  LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  IF (NEW.seq, NEW.period, NEW.tree_size) IS DISTINCT FROM (OLD.seq, OLD.period, OLD.tree_size)
     OR (OLD.root IS NOT NULL AND NEW.root IS DISTINCT FROM OLD.root)
     OR (OLD.signature IS NOT NULL AND
         (NEW.prev, NEW.seal_hash, NEW.epoch, NEW.signer, NEW.signature, NEW.checkpoint) IS DISTINCT FROM
         (OLD.prev, OLD.seal_hash, OLD.epoch, OLD.signer, OLD.signature, OLD.checkpoint))
     OR (OLD.level = 'final' AND
         (NEW.level, NEW.tx_hash, NEW.block_number, NEW.block_hash, NEW.log_index) IS DISTINCT FROM
         (OLD.level, OLD.tx_hash, OLD.block_number, OLD.block_hash, OLD.log_index)) THEN
    RAISE EXCEPTION USING ERRCODE = 'KF030', MESSAGE = 'a fixed fact of a seal cannot be changed';
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER seal_keeps_its_facts BEFORE UPDATE ON kiff_t_{{tenant}}.seals
  FOR EACH ROW EXECUTE FUNCTION kiff_t_{{tenant}}.seal_keeps_its_facts();

-- A tile only grows at its end.
CREATE FUNCTION kiff_t_{{tenant}}.tile_only_grows() RETURNS trigger
  LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  IF substring(NEW.hashes FROM 1 FOR octet_length(OLD.hashes)) <> OLD.hashes THEN
    RAISE EXCEPTION USING ERRCODE = 'KF031', MESSAGE = 'a tile cannot be rewritten';
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER tile_only_grows BEFORE UPDATE ON kiff_t_{{tenant}}.tiles
  FOR EACH ROW EXECUTE FUNCTION kiff_t_{{tenant}}.tile_only_grows();

GRANT SELECT ON kiff_t_{{tenant}}.log_head, kiff_t_{{tenant}}.records, kiff_t_{{tenant}}.bodies, kiff_t_{{tenant}}.tiles,
  kiff_t_{{tenant}}.seals, kiff_t_{{tenant}}.events TO kiff_t_{{tenant}};
GRANT SELECT ON kiff_t_{{tenant}}.log_head, kiff_t_{{tenant}}.records, kiff_t_{{tenant}}.tiles, kiff_t_{{tenant}}.seals TO kiff_sealing;
GRANT INSERT, UPDATE (hashes) ON kiff_t_{{tenant}}.tiles TO kiff_sealing;
GRANT SELECT ON kiff_t_{{tenant}}.tiles, kiff_t_{{tenant}}.seals TO kiff_signing;
-- Its own rows of the directory: row-level security shows it no others.
GRANT SELECT ON kiff.tenants, kiff.logs TO kiff_t_{{tenant}};
