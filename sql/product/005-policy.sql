-- What a verifier is told to trust (kiff.policy/1), besides the deployment's row: public facts, each written once by the
-- process that knows it, so that the API can hand them out and needs neither KMS nor a chain for it.

-- The contract's code (keccak256) and its first block, as the anchoring worker found them.
CREATE TABLE kiff.registry (
  only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
  code_hash bytea NOT NULL CHECK (octet_length(code_hash) = 32),
  from_block bigint NOT NULL CHECK (from_block >= 0)
);

-- The operator's Ed25519 keys, by the signing worker. Earlier ones stay: receipts carry their signatures.
CREATE TABLE kiff.checkpoint_keys (
  public_key bytea PRIMARY KEY CHECK (octet_length(public_key) = 32),
  published_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

GRANT SELECT ON kiff.registry, kiff.checkpoint_keys TO kiff_api;

-- The first answer stands. A contract's code cannot change, so another one comes from another contract or a lying node.
CREATE FUNCTION kiff.publish_registry(hash bytea, first_block bigint) RETURNS void
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  INSERT INTO kiff.registry (code_hash, from_block) VALUES (hash, first_block) ON CONFLICT DO NOTHING;
  PERFORM FROM kiff.registry r WHERE r.code_hash = hash;
  IF NOT FOUND THEN
    RAISE EXCEPTION USING ERRCODE = 'KF012', MESSAGE = 'the contract had other code before';
  END IF;
END $$;
GRANT EXECUTE ON FUNCTION kiff.publish_registry(bytea, bigint) TO kiff_anchoring;

CREATE FUNCTION kiff.publish_checkpoint_key(key bytea) RETURNS void
  LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
  INSERT INTO kiff.checkpoint_keys (public_key) VALUES (key) ON CONFLICT DO NOTHING;
END;
GRANT EXECUTE ON FUNCTION kiff.publish_checkpoint_key(bytea) TO kiff_signing;
