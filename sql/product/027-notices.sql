-- Notices of a custody migration, and vetoes by link. Made here by triggers, so that no process has to remember to tell: whatever
-- worker was taken over, who is told of a new signer is told by the database. Sent by kiff_notify, which can do nothing else; the links
-- in them are honoured by kiff_veto, which can do nothing but stop a migration.

-- Whom to tell: each admin who left an address, the newest one of each (custody.contact, verified by the signer).
CREATE TABLE kiff.custody_contacts (
  tenant text NOT NULL REFERENCES kiff.tenants (id),
  user_id text NOT NULL CHECK (user_id ~ '^user_[A-Za-z0-9_-]{1,60}$'),
  email text CHECK (email ~ '^[^[:space:][:cntrl:]<>@]{1,64}@[A-Za-z0-9.-]{1,190}$'),
  webhook_url text CHECK (webhook_url ~ '^https?://' AND length(webhook_url) <= 2048),
  webhook_secret text CHECK (length(webhook_secret) BETWEEN 24 AND 256),
  command bigint NOT NULL REFERENCES kiff.commands (id),
  PRIMARY KEY (tenant, user_id),
  CHECK (email IS NOT NULL OR webhook_url IS NOT NULL),
  CHECK ((webhook_url IS NULL) = (webhook_secret IS NULL))
);

CREATE TABLE kiff.notices (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  tenant text NOT NULL REFERENCES kiff.tenants (id),
  -- Null when nobody started one here: others signed among themselves, or a passkey came.
  migration text REFERENCES kiff.custody_migrations (id),
  kind text NOT NULL CHECK (kind IN ('migration-started', 'handover-proposed', 'acceptance-requested', 'handover-accepted',
    'handover-cancelled', 'migration-undone', 'passkey-registered')),
  -- Public facts: addresses, hashes, times.
  facts jsonb NOT NULL CHECK (jsonb_typeof(facts) = 'object'),
  made_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX notices_of_migration ON kiff.notices (migration, kind);

CREATE TABLE kiff.notice_deliveries (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  notice bigint NOT NULL REFERENCES kiff.notices (id),
  user_id text NOT NULL,
  channel text NOT NULL CHECK (channel IN ('email', 'webhook')),
  -- The address as it was when the notice was made.
  destination text NOT NULL,
  webhook_secret text,
  attempts integer NOT NULL DEFAULT 0,
  try_after timestamptz NOT NULL DEFAULT '-infinity',
  sent_at timestamptz,
  -- Set with the last attempt that failed: a fixed word. Given up when there is no next one.
  problem text CHECK (problem ~ '^[a-z][a-z-]{1,63}$'),
  given_up_at timestamptz,
  UNIQUE (notice, user_id, channel)
);
CREATE INDEX deliveries_open ON kiff.notice_deliveries (try_after) WHERE sent_at IS NULL AND given_up_at IS NULL;

-- Links that stop a migration, by the hash of what stands in them. Each works once.
CREATE TABLE kiff.veto_tokens (
  hash bytea PRIMARY KEY CHECK (octet_length(hash) = 32),
  migration text NOT NULL REFERENCES kiff.custody_migrations (id),
  tenant text NOT NULL REFERENCES kiff.tenants (id),
  user_id text NOT NULL,
  issued_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  used_at timestamptz,
  command bigint UNIQUE REFERENCES kiff.commands (id),
  CHECK ((used_at IS NULL) = (command IS NULL))
);

ALTER TABLE kiff.custody_contacts ENABLE ROW LEVEL SECURITY;
ALTER TABLE kiff.notices ENABLE ROW LEVEL SECURITY;
ALTER TABLE kiff.notice_deliveries ENABLE ROW LEVEL SECURITY;
ALTER TABLE kiff.veto_tokens ENABLE ROW LEVEL SECURITY;
-- A tenant's admins see who is told, and what was sent.
CREATE POLICY own_rows ON kiff.custody_contacts FOR SELECT USING (tenant = kiff.session_tenant());
CREATE POLICY own_rows ON kiff.notices FOR SELECT USING (tenant = kiff.session_tenant());
GRANT SELECT (tenant, user_id, email, webhook_url) ON kiff.custody_contacts TO kiff_custody_logins;
GRANT SELECT ON kiff.notices TO kiff_custody_logins;

-- Keeps a contact from a custody.contact command that the signer has verified. The newest command of a user counts; one with
-- neither address takes the contact away.
CREATE FUNCTION kiff.keep_custody_contact(command_id bigint, of_user text) RETURNS void
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  c kiff.commands;
BEGIN
  SELECT * INTO c FROM kiff.commands k WHERE k.id = command_id AND k.kind = 'custody.contact' AND k.issuer = 'kiff_c';
  IF NOT FOUND THEN
    RAISE EXCEPTION USING ERRCODE = 'KF082', MESSAGE = 'no such command';
  END IF;
  PERFORM FROM kiff.custody_contacts k WHERE k.tenant = c.tenant AND k.user_id = of_user AND k.command >= c.id;
  IF FOUND THEN
    RETURN;
  END IF;
  IF c.payload ->> 'email' IS NULL AND c.payload #>> '{webhook,url}' IS NULL THEN
    DELETE FROM kiff.custody_contacts k WHERE k.tenant = c.tenant AND k.user_id = of_user;
    RETURN;
  END IF;
  INSERT INTO kiff.custody_contacts (tenant, user_id, email, webhook_url, webhook_secret, command)
    VALUES (c.tenant, of_user, c.payload ->> 'email', c.payload #>> '{webhook,url}', c.payload #>> '{webhook,secret}', c.id)
    ON CONFLICT (tenant, user_id) DO UPDATE
      SET email = excluded.email, webhook_url = excluded.webhook_url, webhook_secret = excluded.webhook_secret, command = excluded.command
      WHERE kiff.custody_contacts.command < excluded.command;
END $$;
GRANT EXECUTE ON FUNCTION kiff.keep_custody_contact(bigint, text) TO kiff_signing;

-- One notice, to everybody who is to be told.
CREATE FUNCTION kiff.make_notice(of_tenant text, of_migration text, of_kind text, with_facts jsonb) RETURNS void
  LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  n bigint;
BEGIN
  INSERT INTO kiff.notices (tenant, migration, kind, facts) VALUES (of_tenant, of_migration, of_kind, jsonb_strip_nulls(with_facts))
    RETURNING id INTO n;
  INSERT INTO kiff.notice_deliveries (notice, user_id, channel, destination)
    SELECT n, k.user_id, 'email', k.email FROM kiff.custody_contacts k WHERE k.tenant = of_tenant AND k.email IS NOT NULL;
  INSERT INTO kiff.notice_deliveries (notice, user_id, channel, destination, webhook_secret)
    SELECT n, k.user_id, 'webhook', k.webhook_url, k.webhook_secret
      FROM kiff.custody_contacts k WHERE k.tenant = of_tenant AND k.webhook_url IS NOT NULL;
  PERFORM pg_notify('kiff_notices', '');
END $$;

CREATE FUNCTION kiff.hex(value bytea) RETURNS text
  LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
  RETURN '0x' || encode(value, 'hex');

CREATE FUNCTION kiff.notice_migration() RETURNS trigger
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  IF OLD.new_signer IS NULL AND NEW.new_signer IS NOT NULL THEN
    PERFORM kiff.make_notice(NEW.tenant, NEW.id, 'migration-started', jsonb_build_object('epoch', NEW.epoch_to, 'custody', NEW.custody,
      'oldSigner', kiff.hex(NEW.from_signer), 'newSigner', kiff.hex(NEW.new_signer), 'approvalsExpireAt', NEW.approvals_expire_at));
  END IF;
  IF OLD.outcome IS NULL AND NEW.outcome = 'undone' THEN
    PERFORM kiff.make_notice(NEW.tenant, NEW.id, 'migration-undone', jsonb_build_object('epoch', NEW.epoch_to, 'reason', NEW.reason));
  END IF;
  RETURN NULL;
END $$;
CREATE TRIGGER notice_migration AFTER UPDATE ON kiff.custody_migrations FOR EACH ROW EXECUTE FUNCTION kiff.notice_migration();

-- Also of handovers that were not ours: whoever was not told of a new signer could not object.
CREATE FUNCTION kiff.notice_handover() RETURNS trigger
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  facts jsonb := jsonb_build_object('epoch', NEW.epoch_to, 'custody', NEW.custody, 'oldSigner', kiff.hex(NEW.from_signer),
    'newSigner', kiff.hex(NEW.to_signer), 'handover', kiff.hex(NEW.handover_hash));
BEGIN
  -- A block that a reorganisation took back brings its event again, and no second notice.
  IF NEW.proposed_level IS NOT NULL AND (TG_OP = 'INSERT' OR OLD.proposed_level IS NULL) AND NOT kiff.noticed(facts, 'handover-proposed') THEN
    PERFORM kiff.make_notice(NEW.tenant, NEW.migration, 'handover-proposed',
      facts || jsonb_build_object('eta', NEW.eta, 'expiresAt', NEW.expires_at, 'transaction', kiff.hex(NEW.proposed_tx)));
  END IF;
  IF NEW.cancelled_level IS NOT NULL AND (TG_OP = 'INSERT' OR OLD.cancelled_level IS NULL) AND NOT kiff.noticed(facts, 'handover-cancelled') THEN
    PERFORM kiff.make_notice(NEW.tenant, NEW.migration, 'handover-cancelled',
      facts || jsonb_build_object('transaction', kiff.hex(NEW.cancelled_tx)));
  END IF;
  IF NEW.accepted_level = 'final' AND (TG_OP = 'INSERT' OR OLD.accepted_level IS DISTINCT FROM 'final') THEN
    PERFORM kiff.make_notice(NEW.tenant, NEW.migration, 'handover-accepted',
      facts || jsonb_build_object('transaction', kiff.hex(NEW.accepted_tx)));
  END IF;
  RETURN NULL;
END $$;
CREATE FUNCTION kiff.noticed(facts jsonb, of_kind text) RETURNS boolean
  LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
  SELECT EXISTS (SELECT FROM kiff.notices n WHERE n.kind = of_kind AND n.facts ->> 'handover' = noticed.facts ->> 'handover');
END;
CREATE TRIGGER notice_handover AFTER INSERT OR UPDATE ON kiff.handovers FOR EACH ROW EXECUTE FUNCTION kiff.notice_handover();

CREATE FUNCTION kiff.notice_step() RETURNS trigger
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  m kiff.custody_migrations;
BEGIN
  PERFORM FROM kiff.notices n WHERE n.migration = NEW.migration AND n.kind = 'acceptance-requested';
  IF NOT FOUND THEN
    SELECT * INTO STRICT m FROM kiff.custody_migrations k WHERE k.id = NEW.migration;
    PERFORM kiff.make_notice(m.tenant, m.id, 'acceptance-requested', jsonb_build_object('epoch', m.epoch_to, 'custody', m.custody,
      'oldSigner', kiff.hex(m.from_signer), 'newSigner', kiff.hex(m.new_signer)));
  END IF;
  RETURN NULL;
END $$;
CREATE TRIGGER notice_step AFTER INSERT ON kiff.custody_steps FOR EACH ROW WHEN (NEW.step = 'accept' AND NEW.state = 'begun')
  EXECUTE FUNCTION kiff.notice_step();

CREATE FUNCTION kiff.notice_passkey() RETURNS trigger
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  IF TG_OP = 'INSERT' OR OLD.state <> 'done' THEN
    PERFORM kiff.make_notice(NEW.tenant, NULL, 'passkey-registered', jsonb_build_object('registeredAt', floor(extract(epoch FROM NEW.changed_at))));
  END IF;
  RETURN NULL;
END $$;
CREATE TRIGGER notice_passkey AFTER INSERT OR UPDATE ON kiff.command_results FOR EACH ROW
  WHEN (NEW.kind = 'custody.passkey' AND NEW.state = 'done') EXECUTE FUNCTION kiff.notice_passkey();

-- kiff_notify takes deliveries for a while: sending is no business of a transaction. What it does not settle in time, because it died,
-- another one takes again. A notice comes at least once.
CREATE FUNCTION kiff.take_deliveries(at_most integer)
  RETURNS TABLE (id bigint, tenant text, migration text, kind text, facts jsonb, made_at timestamptz, notice bigint,
                 channel text, destination text, webhook_secret text, attempts integer, vetoable boolean)
  LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
  WITH taken AS (
    UPDATE kiff.notice_deliveries d SET attempts = d.attempts + 1, try_after = clock_timestamp() + interval '2 minutes'
     WHERE d.id IN (SELECT o.id FROM kiff.notice_deliveries o
                     WHERE o.sent_at IS NULL AND o.given_up_at IS NULL AND o.try_after <= clock_timestamp()
                     ORDER BY o.try_after LIMIT at_most FOR UPDATE SKIP LOCKED)
    RETURNING d.*)
  SELECT t.id, n.tenant, n.migration, n.kind, n.facts, n.made_at, n.id, t.channel, t.destination, t.webhook_secret, t.attempts,
         n.kind IN ('migration-started', 'handover-proposed', 'acceptance-requested') AND m.ended_at IS NULL AND m.id IS NOT NULL
    FROM taken t JOIN kiff.notices n ON n.id = t.notice LEFT JOIN kiff.custody_migrations m ON m.id = n.migration;
END;

-- What came of an attempt: sent, or why not; tried again later each time, for about two days.
CREATE FUNCTION kiff.settle_delivery(delivery bigint, failed text) RETURNS boolean
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  d kiff.notice_deliveries;
BEGIN
  UPDATE kiff.notice_deliveries k
     SET sent_at = CASE WHEN failed IS NULL THEN clock_timestamp() END, problem = failed,
         given_up_at = CASE WHEN failed IS NOT NULL AND k.attempts >= 14 THEN clock_timestamp() END,
         try_after = clock_timestamp() + make_interval(secs => least(21600, 10 * 2 ^ least(k.attempts, 12)))
   WHERE k.id = delivery AND k.sent_at IS NULL RETURNING k.* INTO d;
  RETURN d.given_up_at IS NOT NULL;
END $$;

-- A link for one delivery, stored before it is sent.
CREATE FUNCTION kiff.issue_veto_token(delivery bigint, token_hash bytea) RETURNS void
  LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
  INSERT INTO kiff.veto_tokens (hash, migration, tenant, user_id)
    SELECT token_hash, m.id, m.tenant, d.user_id
      FROM kiff.notice_deliveries d JOIN kiff.notices n ON n.id = d.notice JOIN kiff.custody_migrations m ON m.id = n.migration
     WHERE d.id = delivery AND m.ended_at IS NULL;
END;
GRANT EXECUTE ON FUNCTION
  kiff.take_deliveries(integer),
  kiff.settle_delivery(bigint, text),
  kiff.issue_veto_token(bigint, bytea)
TO kiff_notify;

-- A veto by link is a command like any other, and issued by nobody but the veto server.
INSERT INTO kiff.command_issuers (kind, issuer) VALUES ('custody.veto', 'kiff_veto');

-- What a link is about, for whoever holds it; no row for one that never was.
CREATE FUNCTION kiff.find_veto(token_hash bytea)
  RETURNS TABLE (tenant text, migration text, epoch integer, custody smallint, old_signer text, new_signer text, used boolean, ended boolean,
                 state text, reason text)
  LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
  SELECT t.tenant, m.id, m.epoch_to, m.custody, kiff.hex(m.from_signer), kiff.hex(m.new_signer), t.used_at IS NOT NULL,
         m.ended_at IS NOT NULL, r.state, r.reason
    FROM kiff.veto_tokens t JOIN kiff.custody_migrations m ON m.id = t.migration
    LEFT JOIN kiff.command_results r ON r.command = t.command
   WHERE t.hash = token_hash;
END;

-- Uses a link: once, and only while its migration goes on. Whether it was this call that used it.
CREATE FUNCTION kiff.cast_veto(token_hash bytea) RETURNS boolean
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  t kiff.veto_tokens;
  c bigint;
BEGIN
  SELECT * INTO t FROM kiff.veto_tokens k WHERE k.hash = token_hash AND k.used_at IS NULL FOR UPDATE;
  IF NOT FOUND THEN
    RETURN false;
  END IF;
  PERFORM FROM kiff.custody_migrations m WHERE m.id = t.migration AND m.ended_at IS NULL;
  IF NOT FOUND THEN
    RETURN false;
  END IF;
  INSERT INTO kiff.commands (issuer, tenant, kind, payload)
    VALUES ('kiff_veto', t.tenant, 'custody.veto',
            jsonb_build_object('ref', 'link-' || left(encode(token_hash, 'hex'), 32), 'migration', t.migration))
    RETURNING id INTO c;
  UPDATE kiff.veto_tokens k SET used_at = clock_timestamp(), command = c WHERE k.hash = token_hash;
  RETURN true;
END $$;
GRANT EXECUTE ON FUNCTION kiff.find_veto(bytea), kiff.cast_veto(bytea) TO kiff_veto;

-- For the signer: whether a command is a link's veto, and whether a migration was vetoed so. It only ever stops something.
CREATE FUNCTION kiff.is_link_veto(command_id bigint) RETURNS boolean
  LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
  SELECT EXISTS (SELECT FROM kiff.veto_tokens t WHERE t.command = command_id);
END;
CREATE FUNCTION kiff.vetoed_by_link(of_migration text) RETURNS boolean
  LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
  SELECT EXISTS (SELECT FROM kiff.veto_tokens t WHERE t.migration = of_migration AND t.used_at IS NOT NULL);
END;
GRANT EXECUTE ON FUNCTION kiff.is_link_veto(bigint), kiff.vetoed_by_link(text) TO kiff_signing;

-- As before, and of links' vetoes.
CREATE OR REPLACE FUNCTION kiff.answer_stops(migration_id text, why text) RETURNS void
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  c record;
BEGIN
  FOR c IN SELECT k.id FROM kiff.commands k JOIN kiff.custody_migrations m ON m.tenant = k.tenant
            WHERE m.id = migration_id AND k.issuer IN ('kiff_c', 'kiff_veto') AND k.kind IN ('custody.veto', 'custody.cancel')
              AND k.payload ->> 'migration' = m.id
              AND NOT EXISTS (SELECT FROM kiff.command_results r WHERE r.command = k.id AND r.state <> 'started') LOOP
    PERFORM kiff.finish_command(c.id, CASE WHEN why IS NULL THEN 'done' ELSE 'failed' END, why);
  END LOOP;
END $$;
