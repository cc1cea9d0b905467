-- The one-way valve (design section 3, wall 1): what the application plane asks of the signing plane is a row here, and
-- nothing else crosses. A login may only insert, and only the kinds that it may ask for; whose row it is comes from the
-- session, when it came from the database's clock, and its id from a sequence.

-- A tenant has two logins: kiff_t_<id> for its records, kiff_c_<id> for its custody. Both are that tenant's sessions.
CREATE OR REPLACE FUNCTION kiff.session_tenant() RETURNS text
  LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  RETURN substring(session_user::text FROM '^kiff_[tc]_([a-z][a-z0-9]{2,23})$');

-- Granted to the group once: an access list with one entry per tenant would outgrow its catalogue row.
GRANT SELECT ON kiff.tenants, kiff.logs TO kiff_tenant_logins;

-- In whose name a session asks: all tenants' record logins are one issuer, all custody logins another.
CREATE FUNCTION kiff.session_issuer() RETURNS text
  LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  RETURN CASE WHEN kiff.session_tenant() IS NULL THEN session_user::text ELSE left(session_user::text, 6) END;

-- Who may ask for what. `kiff_t` stands for the tenants' record logins (the ingest API), `kiff_c` for their custody
-- logins (the custody API). Nothing that moves a key is ever granted to `kiff_t`.
CREATE TABLE kiff.command_issuers (
  kind text NOT NULL CHECK (kind ~ '^[a-z]+(\.[a-z]+)+$' AND length(kind) <= 64),
  issuer text NOT NULL CHECK (issuer ~ '^kiff_[a-z_]+$'),
  PRIMARY KEY (kind, issuer)
);
INSERT INTO kiff.command_issuers (kind, issuer) VALUES ('tenant.onboard', 'kiff_operator');

CREATE TABLE kiff.commands (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  issuer text NOT NULL DEFAULT kiff.session_issuer(),
  tenant text DEFAULT kiff.session_tenant() REFERENCES kiff.tenants (id),
  kind text NOT NULL,
  payload jsonb NOT NULL CHECK (jsonb_typeof(payload) = 'object' AND octet_length(payload::text) <= 16384),
  issued_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  -- The inbox's: set once a row is dealt with; until then, when it is worth another try.
  settled_at timestamptz,
  attempts integer NOT NULL DEFAULT 0,
  try_after timestamptz NOT NULL DEFAULT '-infinity'
);
-- By what is not yet done: a cursor would lose the row whose commit was slow.
CREATE INDEX commands_open ON kiff.commands (id) WHERE settled_at IS NULL;

-- What became of each command. `ref` is the payload's own member of that name, if it has one: whoever may only insert does
-- not learn the row's id, and finds the answer by a word of its own.
CREATE TABLE kiff.command_results (
  command bigint PRIMARY KEY REFERENCES kiff.commands (id),
  issuer text NOT NULL,
  tenant text,
  kind text NOT NULL,
  ref text,
  state text NOT NULL CHECK (state IN ('started', 'done', 'failed', 'rejected')),
  -- A fixed word, never text of the payload's.
  reason text CHECK (reason ~ '^[a-z][a-z-]{1,63}$'),
  changed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  CHECK ((state IN ('failed', 'rejected')) = (reason IS NOT NULL))
);
CREATE INDEX command_results_ref ON kiff.command_results (ref);

ALTER TABLE kiff.command_issuers ENABLE ROW LEVEL SECURITY;
ALTER TABLE kiff.commands ENABLE ROW LEVEL SECURITY;
ALTER TABLE kiff.command_results ENABLE ROW LEVEL SECURITY;

CREATE FUNCTION kiff.may_issue(command_kind text) RETURNS boolean
  LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
  SELECT EXISTS (SELECT FROM kiff.command_issuers i WHERE i.kind = command_kind AND i.issuer = kiff.session_issuer());
END;
CREATE POLICY own_kinds ON kiff.commands FOR INSERT WITH CHECK (kiff.may_issue(kind));
-- A tenant reads what became of its own commands; whoever has no tenant, of what it asked for itself.
CREATE POLICY own_rows ON kiff.command_results FOR SELECT
  USING (CASE WHEN kiff.session_tenant() IS NULL THEN issuer = kiff.session_issuer() ELSE tenant = kiff.session_tenant() END);

GRANT INSERT (kind, payload) ON kiff.commands
  TO kiff_api, kiff_custody, kiff_operator, kiff_tenant_logins, kiff_custody_logins;
GRANT SELECT ON kiff.command_results TO kiff_api, kiff_custody, kiff_operator, kiff_tenant_logins, kiff_custody_logins;
GRANT EXECUTE ON FUNCTION kiff.session_issuer(), kiff.may_issue(text)
  TO kiff_api, kiff_custody, kiff_operator, kiff_tenant_logins, kiff_custody_logins;

-- Wakes the inbox at commit. It carries nothing: anybody may send such a wake-up, and it changes nothing.
CREATE FUNCTION kiff.wake_inbox() RETURNS trigger
  LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  PERFORM pg_notify('kiff_commands', '');
  RETURN NULL;
END $$;
CREATE TRIGGER wake_inbox AFTER INSERT ON kiff.commands FOR EACH STATEMENT EXECUTE FUNCTION kiff.wake_inbox();

-- The inbox takes one open command at a time and keeps its row locked until it commits: a second inbox passes it by, and
-- when the first one dies the row is free again.
CREATE FUNCTION kiff.take_command()
  RETURNS TABLE (id bigint, issuer text, tenant text, kind text, payload jsonb)
  LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
  SELECT c.id, c.issuer, c.tenant, c.kind, c.payload FROM kiff.commands c
   WHERE c.settled_at IS NULL AND c.try_after <= clock_timestamp()
   ORDER BY c.id LIMIT 1 FOR UPDATE SKIP LOCKED;
END;

-- Deals with a taken command, once: it was started, or it is rejected with a reason.
CREATE FUNCTION kiff.settle_command(command_id bigint, new_state text, new_reason text) RETURNS void
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  c kiff.commands%ROWTYPE;
BEGIN
  IF new_state NOT IN ('started', 'rejected') THEN
    RAISE EXCEPTION USING ERRCODE = 'KF050', MESSAGE = 'a command is settled as started or rejected';
  END IF;
  UPDATE kiff.commands k SET settled_at = clock_timestamp() WHERE k.id = command_id AND k.settled_at IS NULL RETURNING k.* INTO c;
  IF NOT FOUND THEN
    RAISE EXCEPTION USING ERRCODE = 'KF050', MESSAGE = 'no such open command';
  END IF;
  -- A finished one stays finished: the workflow may have been faster than we.
  INSERT INTO kiff.command_results (command, issuer, tenant, kind, ref, state, reason)
    VALUES (c.id, c.issuer, c.tenant, c.kind, substring(c.payload ->> 'ref' FROM '^[A-Za-z0-9_-]{1,64}$'), new_state, new_reason)
    ON CONFLICT (command) DO NOTHING;
END $$;

-- Puts an open command off; others pass it by.
CREATE FUNCTION kiff.defer_command(command_id bigint) RETURNS void
  LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
  UPDATE kiff.commands SET attempts = attempts + 1,
         try_after = clock_timestamp() + make_interval(secs => least(30, 0.5 * 2 ^ least(attempts, 10)))
   WHERE id = command_id AND settled_at IS NULL;
END;

-- What came of a command in the end. The first end stands.
CREATE FUNCTION kiff.finish_command(command_id bigint, new_state text, new_reason text) RETURNS void
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  IF new_state NOT IN ('done', 'failed') THEN
    RAISE EXCEPTION USING ERRCODE = 'KF050', MESSAGE = 'a command ends as done or failed';
  END IF;
  INSERT INTO kiff.command_results AS r (command, issuer, tenant, kind, ref, state, reason)
    SELECT c.id, c.issuer, c.tenant, c.kind, substring(c.payload ->> 'ref' FROM '^[A-Za-z0-9_-]{1,64}$'), new_state, new_reason
      FROM kiff.commands c WHERE c.id = command_id
    ON CONFLICT (command) DO UPDATE SET state = excluded.state, reason = excluded.reason, changed_at = clock_timestamp()
      WHERE r.state = 'started';
END $$;
GRANT EXECUTE ON FUNCTION kiff.take_command(), kiff.settle_command(bigint, text, text), kiff.defer_command(bigint),
  kiff.finish_command(bigint, text, text) TO kiff_sealing;

-- The operator's login (`npx kiff tenant …`): reads the directory, asks for onboardings, pauses and resumes.
CREATE POLICY operator ON kiff.tenants FOR SELECT TO kiff_operator USING (true);
CREATE POLICY operator ON kiff.logs FOR SELECT TO kiff_operator USING (true);
GRANT SELECT ON kiff.tenants, kiff.logs TO kiff_operator;

-- A paused tenant takes no records and is not sealed; its periods are made up by the first seal after it is resumed.
CREATE FUNCTION kiff.set_paused(tenant_id text, paused boolean) RETURNS text
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  wanted text := CASE WHEN paused THEN 'paused' ELSE 'active' END;
BEGIN
  UPDATE kiff.tenants SET status = wanted WHERE id = tenant_id AND status IN ('active', 'paused') AND status <> wanted;
  IF FOUND THEN
    EXECUTE format('INSERT INTO kiff_t_%s.events (kind) VALUES ($1)', tenant_id)
      USING CASE WHEN paused THEN 'tenant.paused' ELSE 'tenant.resumed' END;
  ELSE
    PERFORM FROM kiff.tenants WHERE id = tenant_id AND status = wanted;
    IF NOT FOUND THEN
      RAISE EXCEPTION USING ERRCODE = 'KF051', MESSAGE = 'the tenant is neither active nor paused';
    END IF;
  END IF;
  RETURN wanted;
END $$;

-- A tenant's first API key, by its hash: the key itself never comes here. With a key there, only its admins make more.
CREATE FUNCTION kiff.add_first_key(tenant_id text, key_id text, key_hash bytea, key_label text) RETURNS boolean
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  PERFORM FROM kiff.tenants t WHERE t.id = tenant_id FOR UPDATE;
  INSERT INTO kiff.api_keys (id, tenant, hash, label)
    SELECT key_id, tenant_id, key_hash, key_label
     WHERE NOT EXISTS (SELECT FROM kiff.api_keys k WHERE k.tenant = tenant_id);
  RETURN FOUND;
END $$;
GRANT EXECUTE ON FUNCTION kiff.set_paused(text, boolean), kiff.add_first_key(text, text, bytea, text) TO kiff_operator;
