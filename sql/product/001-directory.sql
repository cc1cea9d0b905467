-- The directory: which deployment this is, which tenants and logs exist, and which API keys open them.
-- Everything is owned by kiff_owner (NOLOGIN). Runtime roles get exactly what docs/architecture.md lists.

-- For this owner everywhere in this database: a default that is limited to a schema cannot take PUBLIC's EXECUTE away.
ALTER DEFAULT PRIVILEGES REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;

CREATE SCHEMA kiff;
REVOKE ALL ON SCHEMA kiff FROM PUBLIC;
GRANT USAGE ON SCHEMA kiff TO PUBLIC;

-- One row, written by the deployment job. P and the contract are constants of the logs, not settings of a process.
CREATE TABLE kiff.deployment (
  only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
  host text NOT NULL,
  chain_id bigint NOT NULL CHECK (chain_id > 0),
  contract bytea NOT NULL CHECK (octet_length(contract) = 20),
  period_seconds integer NOT NULL CHECK (period_seconds > 0),
  created_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
GRANT SELECT ON kiff.deployment TO PUBLIC;

CREATE TABLE kiff.tenants (
  id text PRIMARY KEY CHECK (id ~ '^[a-z][a-z0-9]{2,23}$'),
  status text NOT NULL DEFAULT 'onboarding' CHECK (status IN ('onboarding', 'active', 'paused', 'ended')),
  -- The login's password is HMAC(secret, tenant:login_version); raising the version changes it.
  login_version integer NOT NULL DEFAULT 1 CHECK (login_version > 0),
  schema_version integer NOT NULL DEFAULT 0,
  created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  activated_at timestamptz
);

-- A log's identity, and how far it has come. The three seq columns only say which logs have work; the truth is in the
-- tenant's seals and on the chain.
CREATE TABLE kiff.logs (
  tenant text PRIMARY KEY REFERENCES kiff.tenants (id),
  origin text NOT NULL UNIQUE,
  genesis_signer bytea NOT NULL CHECK (octet_length(genesis_signer) = 20),
  log_id bytea NOT NULL UNIQUE CHECK (octet_length(log_id) = 32),
  first_period bigint CHECK (first_period >= 0),
  registered_block bigint,
  signed_seq integer NOT NULL DEFAULT 0,
  included_seq integer NOT NULL DEFAULT 0 CHECK (included_seq <= signed_seq),
  final_seq integer NOT NULL DEFAULT 0 CHECK (final_seq <= included_seq)
);
CREATE INDEX logs_to_anchor ON kiff.logs (tenant) WHERE signed_seq > final_seq;
CREATE INDEX logs_to_register ON kiff.logs (tenant) WHERE registered_block IS NULL;

-- Only the hash of a key is kept (the key is 190 random bits, so a fast hash is enough).
CREATE TABLE kiff.api_keys (
  id text PRIMARY KEY CHECK (id ~ '^k[a-z0-9]{15}$'),
  tenant text NOT NULL REFERENCES kiff.tenants (id),
  hash bytea NOT NULL UNIQUE CHECK (octet_length(hash) = 32),
  label text NOT NULL DEFAULT '',
  scopes text[] NOT NULL DEFAULT '{ingest,read}' CHECK (scopes <@ '{ingest,read}' AND cardinality(scopes) > 0),
  created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  expires_at timestamptz,
  revoked_at timestamptz
);
CREATE INDEX api_keys_tenant ON kiff.api_keys (tenant);

-- The tenant that a connection belongs to is its login's name: session_user survives SET ROLE and RESET ROLE.
CREATE FUNCTION kiff.session_tenant() RETURNS text
  LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  RETURN substring(session_user::text FROM '^kiff_t_([a-z][a-z0-9]{2,23})$');
GRANT EXECUTE ON FUNCTION kiff.session_tenant() TO PUBLIC;

ALTER TABLE kiff.tenants ENABLE ROW LEVEL SECURITY;
ALTER TABLE kiff.logs ENABLE ROW LEVEL SECURITY;
ALTER TABLE kiff.api_keys ENABLE ROW LEVEL SECURITY;
CREATE POLICY own_row ON kiff.tenants FOR SELECT USING (id = kiff.session_tenant());
CREATE POLICY own_row ON kiff.logs FOR SELECT USING (tenant = kiff.session_tenant());
CREATE POLICY own_rows ON kiff.api_keys FOR SELECT USING (tenant = kiff.session_tenant());
CREATE POLICY workers ON kiff.tenants TO kiff_sealing, kiff_signing, kiff_anchoring USING (true);
CREATE POLICY workers ON kiff.logs TO kiff_sealing, kiff_signing, kiff_anchoring USING (true);

GRANT SELECT ON kiff.tenants, kiff.logs TO kiff_sealing, kiff_signing, kiff_anchoring;

-- Key lookup for a request that has no tenant yet: by hash only, so that the API's login cannot list keys.
CREATE FUNCTION kiff.find_api_key(key_hash bytea)
  RETURNS TABLE (key_id text, tenant text, scopes text[], expires_at timestamptz, revoked_at timestamptz,
                 tenant_status text, login_version integer, schema_version integer)
  LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
  SELECT k.id, k.tenant, k.scopes, k.expires_at, k.revoked_at, t.status, t.login_version, t.schema_version
    FROM kiff.api_keys k JOIN kiff.tenants t ON t.id = k.tenant
   WHERE k.hash = key_hash;
END;
GRANT EXECUTE ON FUNCTION kiff.find_api_key(bytea) TO kiff_api;

-- Onboarding, by the sealing worker: the log's identity is fixed once, activation fixes its first period.
CREATE FUNCTION kiff.open_log(tenant_id text, log_origin text, signer bytea, id bytea) RETURNS void
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  INSERT INTO kiff.logs (tenant, origin, genesis_signer, log_id) VALUES (tenant_id, log_origin, signer, id)
    ON CONFLICT (tenant) DO NOTHING;
  PERFORM FROM kiff.logs l
    WHERE l.tenant = tenant_id AND l.origin = log_origin AND l.genesis_signer = signer AND l.log_id = id;
  IF NOT FOUND THEN
    RAISE EXCEPTION USING ERRCODE = 'KF010', MESSAGE = 'the tenant already has a log of another identity';
  END IF;
END $$;

CREATE FUNCTION kiff.activate_tenant(tenant_id text) RETURNS bigint
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  p integer;
  first bigint;
BEGIN
  SELECT period_seconds INTO STRICT p FROM kiff.deployment;
  UPDATE kiff.tenants SET status = 'active', activated_at = clock_timestamp()
   WHERE id = tenant_id AND status = 'onboarding';
  UPDATE kiff.logs l SET first_period = floor(extract(epoch FROM t.activated_at) / p)::bigint * p
    FROM kiff.tenants t
   WHERE t.id = tenant_id AND l.tenant = tenant_id AND l.first_period IS NULL;
  SELECT l.first_period INTO first FROM kiff.logs l WHERE l.tenant = tenant_id;
  IF first IS NULL THEN
    RAISE EXCEPTION USING ERRCODE = 'KF011', MESSAGE = 'the tenant has no log to activate';
  END IF;
  RETURN first;
END $$;
GRANT EXECUTE ON FUNCTION kiff.open_log(text, text, bytea, bytea), kiff.activate_tenant(text) TO kiff_sealing;
