-- What the saga of a migration (workflows/custodyMigration.ts) may change, and what it may not: no worker ends a migration while
-- a signed handover of it is alive, and the key administrator asks here, not the workflow, whether a key may go.

ALTER TABLE kiff.custody_migrations
  -- Why it is being undone, a fixed word. From then on nothing more is recorded as signed for it.
  ADD COLUMN given_up text CHECK (given_up ~ '^[a-z][a-z-]{1,63}$');
ALTER TABLE kiff.handovers
  -- A finalized block past `expires_at` in which it was not accepted: it is dead for good.
  ADD COLUMN lapsed_block bigint;

-- The old key and the new one, each on the way to its end (workflows/retireKey.ts): evidence, labelled as our own statement.
CREATE TABLE kiff.custody_certificates (
  migration text PRIMARY KEY REFERENCES kiff.custody_migrations (id),
  tenant text NOT NULL REFERENCES kiff.tenants (id),
  certificate jsonb NOT NULL CHECK (jsonb_typeof(certificate) = 'object'),
  made_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
ALTER TABLE kiff.custody_certificates ENABLE ROW LEVEL SECURITY;
CREATE POLICY own_rows ON kiff.custody_certificates FOR SELECT USING (tenant = kiff.session_tenant());
CREATE POLICY workers ON kiff.custody_certificates TO kiff_sealing USING (true);
GRANT SELECT ON kiff.custody_certificates TO kiff_tenant_logins, kiff_custody_logins, kiff_sealing;

-- The first one stands.
CREATE FUNCTION kiff.keep_custody_certificate(migration_id text, new_certificate jsonb) RETURNS void
  LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
  INSERT INTO kiff.custody_certificates (migration, tenant, certificate)
    SELECT m.id, m.tenant, new_certificate FROM kiff.custody_migrations m WHERE m.id = migration_id
    ON CONFLICT (migration) DO NOTHING;
END;

-- A migration's news in the tenant's own audit trail.
CREATE FUNCTION kiff.tell_custody(m kiff.custody_migrations, event_kind text, detail jsonb) RETURNS void
  LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  EXECUTE format('INSERT INTO kiff_t_%s.events (kind, detail) VALUES ($1, $2)', m.tenant)
    USING event_kind, jsonb_build_object('migration', m.id, 'epoch', m.epoch_to) || detail;
END $$;

-- As before, and the tenant's audit trail says so.
CREATE OR REPLACE FUNCTION kiff.open_custody_migration(command_id bigint, new_policy jsonb) RETURNS kiff.custody_migrations
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  c kiff.commands;
  l kiff.logs;
  m kiff.custody_migrations;
BEGIN
  SELECT * INTO m FROM kiff.custody_migrations k WHERE k.command = command_id;
  IF FOUND THEN
    RETURN m;
  END IF;
  SELECT * INTO c FROM kiff.commands k WHERE k.id = command_id AND k.kind = 'custody.start' AND k.issuer = 'kiff_c';
  IF NOT FOUND THEN
    RAISE EXCEPTION USING ERRCODE = 'KF082', MESSAGE = 'no such command';
  END IF;
  SELECT * INTO l FROM kiff.logs k WHERE k.tenant = c.tenant AND k.frozen_reason IS NULL AND k.first_period IS NOT NULL FOR UPDATE;
  IF NOT FOUND THEN
    RAISE EXCEPTION USING ERRCODE = 'KF083', MESSAGE = 'the tenant has no log that could be handed over';
  END IF;
  PERFORM FROM kiff.custody_migrations k WHERE k.tenant = c.tenant AND k.ended_at IS NULL;
  IF FOUND THEN
    RAISE EXCEPTION USING ERRCODE = 'KF084', MESSAGE = 'a migration is active already';
  END IF;
  INSERT INTO kiff.custody_migrations
    (id, tenant, command, log_id, epoch_to, custody, from_signer, key_ref, nonce, approvals_expire_at, policy, delete_old_key)
  VALUES
    (c.payload ->> 'ref', c.tenant, c.id, l.log_id, l.epoch + 1, (c.payload ->> 'custody')::smallint,
     coalesce(l.current_signer, l.genesis_signer), c.payload ->> 'keyArn',
     sha256(uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid())),
     floor(extract(epoch FROM c.issued_at))::bigint + (new_policy ->> 'approvals')::bigint, new_policy,
     coalesce((c.payload ->> 'deleteOldKey')::boolean, true))
  RETURNING * INTO m;
  PERFORM kiff.tell_custody(m, 'custody.started', jsonb_build_object('custody', m.custody));
  RETURN m;
END $$;

-- A handover that the old key signed and that nothing has killed yet: it can still be accepted, by anybody who has it.
CREATE FUNCTION kiff.live_handover(migration_id text) RETURNS boolean
  LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
  SELECT EXISTS (SELECT FROM kiff.handovers h
                  WHERE h.migration = migration_id AND (h.from_signature IS NOT NULL OR h.proposed_level IS NOT NULL)
                    AND h.cancelled_level IS DISTINCT FROM 'final' AND h.lapsed_block IS NULL);
END;
CREATE FUNCTION kiff.handed_over(migration_id text) RETURNS boolean
  LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
  SELECT EXISTS (SELECT FROM kiff.handovers h WHERE h.migration = migration_id AND h.accepted_level = 'final');
END;

-- Gives a migration up: from here on no signature for it is recorded, and so none is sent. Answers false, and changes nothing,
-- when the chain has finally accepted its handover: then it goes forward. The first reason stands.
CREATE FUNCTION kiff.give_up_custody(migration_id text, why text) RETURNS boolean
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  PERFORM FROM kiff.custody_migrations m WHERE m.id = migration_id FOR UPDATE;
  IF kiff.handed_over(migration_id) THEN
    RETURN false;
  END IF;
  UPDATE kiff.custody_migrations m SET given_up = coalesce(m.given_up, why) WHERE m.id = migration_id AND m.ended_at IS NULL;
  RETURN true;
END $$;

-- As before, and not for a migration that was given up: its row is locked, so that the one comes before the other.
CREATE OR REPLACE FUNCTION kiff.record_handover(migration_id text, hash bytea, before bigint, until bigint, to_sig bytea, from_sig bytea) RETURNS void
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  m kiff.custody_migrations;
BEGIN
  SELECT * INTO m FROM kiff.custody_migrations k WHERE k.id = migration_id FOR SHARE;
  IF m.given_up IS NOT NULL OR m.ended_at IS NOT NULL THEN
    RAISE EXCEPTION USING ERRCODE = 'KF086', MESSAGE = 'the migration was given up';
  END IF;
  INSERT INTO kiff.handovers AS h (tenant, log_id, handover_hash, migration, epoch_to, from_signer, to_signer, custody, not_before,
                                   expires_at, nonce, to_signature, from_signature, signed_at)
    VALUES (m.tenant, m.log_id, hash, m.id, m.epoch_to, m.from_signer, m.new_signer, m.custody, before, until, m.nonce, to_sig, from_sig,
            CASE WHEN from_sig IS NOT NULL THEN clock_timestamp() END)
    ON CONFLICT (log_id, handover_hash) DO UPDATE
      SET to_signature = coalesce(h.to_signature, excluded.to_signature),
          from_signature = coalesce(h.from_signature, excluded.from_signature),
          signed_at = coalesce(h.signed_at, excluded.signed_at),
          migration = coalesce(h.migration, excluded.migration);
END $$;
CREATE OR REPLACE FUNCTION kiff.record_acceptance(of_log bytea, hash bytea, at_seq integer, at_head bytea, acceptance bytea, sig bytea) RETURNS void
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  PERFORM FROM kiff.custody_migrations m JOIN kiff.handovers h ON h.migration = m.id
    WHERE h.log_id = of_log AND h.handover_hash = hash AND m.given_up IS NOT NULL FOR SHARE OF m;
  IF FOUND THEN
    RAISE EXCEPTION USING ERRCODE = 'KF086', MESSAGE = 'the migration was given up';
  END IF;
  UPDATE kiff.handovers SET accept_seq = at_seq, accept_head = at_head, accept_hash = acceptance, accept_signature = sig
   WHERE log_id = of_log AND handover_hash = hash AND accept_signature IS NULL;
END $$;

-- Ends a migration, once: completed when the chain has finally accepted its handover, undone when nothing of it is alive.
CREATE OR REPLACE FUNCTION kiff.end_custody_migration(migration_id text, new_outcome text, why text) RETURNS void
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  m kiff.custody_migrations;
BEGIN
  SELECT * INTO m FROM kiff.custody_migrations k WHERE k.id = migration_id AND k.ended_at IS NULL FOR UPDATE;
  IF NOT FOUND THEN
    RETURN;
  END IF;
  IF (new_outcome = 'undone' AND (m.given_up IS NULL OR kiff.live_handover(m.id) OR kiff.handed_over(m.id)))
     OR (new_outcome = 'completed' AND NOT kiff.handed_over(m.id)) THEN
    RAISE EXCEPTION USING ERRCODE = 'KF087', MESSAGE = 'the migration cannot end so';
  END IF;
  UPDATE kiff.custody_migrations k SET ended_at = clock_timestamp(), outcome = new_outcome, reason = why WHERE k.id = m.id;
  PERFORM kiff.tell_custody(m, 'custody.' || new_outcome, CASE WHEN why IS NULL THEN '{}' ELSE jsonb_build_object('reason', why) END);
END $$;

-- Answers whoever wanted a migration stopped: `why` is null when it was, else a fixed word.
CREATE FUNCTION kiff.answer_stops(migration_id text, why text) RETURNS void
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  c record;
BEGIN
  FOR c IN SELECT k.id FROM kiff.commands k JOIN kiff.custody_migrations m ON m.tenant = k.tenant
            WHERE m.id = migration_id AND k.issuer = 'kiff_c' AND k.kind IN ('custody.veto', 'custody.cancel')
              AND k.payload ->> 'migration' = m.id
              AND NOT EXISTS (SELECT FROM kiff.command_results r WHERE r.command = k.id AND r.state <> 'started') LOOP
    PERFORM kiff.finish_command(c.id, CASE WHEN why IS NULL THEN 'done' ELSE 'failed' END, why);
  END LOOP;
END $$;

GRANT EXECUTE ON FUNCTION
  kiff.keep_custody_certificate(text, jsonb),
  kiff.give_up_custody(text, text),
  kiff.answer_stops(text, text)
TO kiff_sealing;

-- For the key administrator, which believes no workflow.

-- The number of the tenant's current log, which is in the alias of its keys.
CREATE FUNCTION kiff.log_ordinal(tenant_id text) RETURNS integer
  LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
  SELECT 1 + count(*)::integer FROM kiff.ended_logs e WHERE e.tenant = tenant_id;
END;

-- The fresh key of a migration to our own custody: whether it may be made, and whether it may go. No row for any other.
CREATE FUNCTION kiff.fresh_custody_key(migration_id text)
  RETURNS TABLE (tenant text, log_ordinal integer, epoch integer, new_signer bytea, wanted boolean, unused boolean)
  LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
  SELECT m.tenant, kiff.log_ordinal(m.tenant), m.epoch_to, m.new_signer,
         m.given_up IS NULL AND m.ended_at IS NULL,
         m.given_up IS NOT NULL AND NOT kiff.live_handover(m.id) AND NOT kiff.handed_over(m.id)
           AND NOT EXISTS (SELECT FROM kiff.logs l WHERE l.tenant = m.tenant AND l.current_signer = m.new_signer)
    FROM kiff.custody_migrations m WHERE m.id = migration_id AND m.custody = 1;
END;

-- The key of ours that a migration has replaced: once the chain has finally accepted and the log has another signer, it may be
-- disabled; and deleted, if the tenant chose so, when the time of observation is over. No row while it may not, or when it is not ours.
CREATE FUNCTION kiff.replaced_custody_key(migration_id text)
  RETURNS TABLE (tenant text, log_ordinal integer, epoch integer, key_ref text, signer bytea, deletable boolean, deletion_days integer)
  LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
  SELECT m.tenant, kiff.log_ordinal(m.tenant), m.epoch_to - 1, b.key_ref, m.from_signer,
         m.delete_old_key AND m.outcome IS NOT DISTINCT FROM 'completed'
           AND m.ended_at + make_interval(secs => (m.policy ->> 'observation')::float8) <= clock_timestamp(),
         ((m.policy ->> 'deletionWindow')::bigint / 86400)::integer
    FROM kiff.custody_migrations m
    JOIN kiff.logs l ON l.tenant = m.tenant AND l.log_id = m.log_id
    -- What made the old key the signer: nothing when it is the genesis key.
    LEFT JOIN kiff.custody_migrations b
           ON b.log_id = m.log_id AND b.epoch_to = m.epoch_to - 1 AND b.new_signer = m.from_signer AND kiff.handed_over(b.id)
   WHERE m.id = migration_id AND kiff.handed_over(m.id)
     AND l.epoch >= m.epoch_to AND l.current_signer IS DISTINCT FROM m.from_signer
     AND CASE WHEN m.epoch_to = 1 THEN l.genesis_signer = m.from_signer ELSE b.custody = 1 END;
END;
GRANT EXECUTE ON FUNCTION kiff.fresh_custody_key(text), kiff.replaced_custody_key(text) TO kiff_keyadmin;
