-- Custody (design section 7): what a tenant's admins asked for and proved, how far a migration has come, and every handover
-- that was ever signed or seen. Here are facts, never decisions: the signer reads the evidence itself and believes no column
-- of this file that it can check.

-- What an admin may ask of the signing plane, each through the custody API's own login of the tenant and no other.
INSERT INTO kiff.command_issuers (kind, issuer) VALUES
  ('custody.passkey', 'kiff_c'),   -- a passkey's registration, with the session token of that moment
  ('custody.contact', 'kiff_c'),   -- whom to tell
  ('custody.start', 'kiff_c'),
  ('custody.approve', 'kiff_c'),   -- a passkey's assertion over CustodyApproval, with the session token of that moment
  ('custody.proof', 'kiff_c'),     -- signatures of a tenant's own signer
  ('custody.handover', 'kiff_c'),
  ('custody.accept', 'kiff_c'),
  ('custody.veto', 'kiff_c'),
  ('custody.cancel', 'kiff_c');

-- Who signs a log now. No current signer: its genesis signer, with our key `alias/kiff/<tenant>`. Written by the cut-over alone.
ALTER TABLE kiff.logs
  ADD COLUMN current_signer bytea CHECK (octet_length(current_signer) = 20),
  ADD COLUMN epoch integer NOT NULL DEFAULT 0 CHECK (epoch >= 0),
  -- 1 cloud, 2 tenant-kms, 3 tenant-agent.
  ADD COLUMN custody smallint NOT NULL DEFAULT 1 CHECK (custody BETWEEN 1 AND 3),
  -- The current key's alias or ARN; null for the genesis key, and for a key that we never call.
  ADD COLUMN key_ref text CHECK (length(key_ref) <= 2048),
  ADD COLUMN signer_since timestamptz,
  -- While an acceptance is on its way nothing new is signed: it binds to the exact head of the log.
  ADD COLUMN held_since timestamptz,
  ADD CHECK ((epoch = 0) = (current_signer IS NULL));

CREATE TABLE kiff.custody_migrations (
  -- The `ref` of the command that asked for it.
  id text PRIMARY KEY CHECK (id ~ '^[A-Za-z0-9_-]{16,64}$'),
  tenant text NOT NULL REFERENCES kiff.tenants (id),
  command bigint NOT NULL UNIQUE REFERENCES kiff.commands (id),
  log_id bytea NOT NULL CHECK (octet_length(log_id) = 32),
  epoch_to integer NOT NULL CHECK (epoch_to >= 1),
  custody smallint NOT NULL CHECK (custody BETWEEN 1 AND 3),
  -- Who signs today, when it began.
  from_signer bytea NOT NULL CHECK (octet_length(from_signer) = 20),
  -- Of tenant-kms: the key's ARN. Of cloud: the fresh key's alias.
  key_ref text CHECK (length(key_ref) <= 2048),
  -- Known once the key was looked at; every approval names it.
  new_signer bytea CHECK (octet_length(new_signer) = 20),
  -- Of CustodyApproval and CustodyProof, and of Handover.
  nonce bytea NOT NULL UNIQUE CHECK (octet_length(nonce) = 32),
  -- The last second for approvals and proof.
  approvals_expire_at bigint NOT NULL,
  -- Seconds and counts that were policy when it began: {approvals, trialSeals, handoverExpiry, observation, deletionWindow}.
  policy jsonb NOT NULL CHECK (jsonb_typeof(policy) = 'object'),
  -- Whether the old key is to be deleted in the end, and kept otherwise.
  delete_old_key boolean NOT NULL DEFAULT true,
  started_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  ended_at timestamptz,
  outcome text CHECK (outcome IN ('completed', 'undone')),
  -- Why it was undone: a fixed word.
  reason text CHECK (reason ~ '^[a-z][a-z-]{1,63}$'),
  CHECK (num_nulls(ended_at, outcome) IN (0, 2)),
  CHECK ((outcome IS NOT DISTINCT FROM 'undone') = (reason IS NOT NULL))
);
CREATE UNIQUE INDEX one_active_migration ON kiff.custody_migrations (tenant) WHERE ended_at IS NULL;
CREATE INDEX custody_migrations_of_tenant ON kiff.custody_migrations (tenant, started_at);

-- Each step as it went: appended, never changed. `proof` holds public facts only: hashes, addresses, transactions, times.
CREATE TABLE kiff.custody_steps (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  migration text NOT NULL REFERENCES kiff.custody_migrations (id),
  tenant text NOT NULL REFERENCES kiff.tenants (id),
  step text NOT NULL CHECK (step IN ('identify', 'authorise', 'snapshot', 'register', 'prove', 'trial', 'hand-over', 'propose',
    'cooling-off', 'accept', 'final', 'cut-over', 'catch-up', 'disable-old-key', 'certificate', 'retire-key')),
  state text NOT NULL CHECK (state IN ('begun', 'waiting', 'done', 'failed', 'undone')),
  at timestamptz NOT NULL DEFAULT clock_timestamp(),
  proof jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(proof) = 'object' AND octet_length(proof::text) <= 65536)
);
CREATE INDEX custody_steps_of_migration ON kiff.custody_steps (migration, id);

-- Every handover that was signed by us or seen on chain. A signed one is live until it is cancelled on chain or expired.
CREATE TABLE kiff.handovers (
  tenant text NOT NULL REFERENCES kiff.tenants (id),
  log_id bytea NOT NULL CHECK (octet_length(log_id) = 32),
  handover_hash bytea NOT NULL CHECK (octet_length(handover_hash) = 32),
  -- Null for one that others signed among themselves and we saw proposed.
  migration text REFERENCES kiff.custody_migrations (id),
  epoch_to integer NOT NULL CHECK (epoch_to >= 1),
  from_signer bytea NOT NULL CHECK (octet_length(from_signer) = 20),
  to_signer bytea NOT NULL CHECK (octet_length(to_signer) = 20),
  custody smallint NOT NULL CHECK (custody BETWEEN 0 AND 255),
  not_before bigint NOT NULL,
  expires_at bigint NOT NULL,
  nonce bytea NOT NULL CHECK (octet_length(nonce) = 32),
  -- The new key signs first, the old key last.
  to_signature bytea,
  from_signature bytea,
  accept_seq integer CHECK (accept_seq >= 0),
  accept_head bytea CHECK (octet_length(accept_head) = 32),
  accept_hash bytea CHECK (octet_length(accept_hash) = 32),
  accept_signature bytea,
  cancel_by bytea CHECK (octet_length(cancel_by) = 20),
  cancel_signature bytea,
  signed_at timestamptz,
  -- What the chain says, level as of a seal: included, safe, final; null while it says nothing.
  proposed_level text CHECK (proposed_level IN ('included', 'safe', 'final')),
  proposed_tx bytea, proposed_block bigint, proposed_block_hash bytea, proposed_log_index integer, eta bigint,
  accepted_level text CHECK (accepted_level IN ('included', 'safe', 'final')),
  accepted_tx bytea, accepted_block bigint, accepted_block_hash bytea, accepted_log_index integer,
  cancelled_level text CHECK (cancelled_level IN ('included', 'safe', 'final')),
  cancelled_tx bytea, cancelled_block bigint, cancelled_block_hash bytea, cancelled_log_index integer,
  -- The contract refused in simulation: the outcome's name; looked at again after a while.
  refused text,
  look_after timestamptz NOT NULL DEFAULT '-infinity',
  PRIMARY KEY (log_id, handover_hash),
  CHECK (num_nulls(accept_seq, accept_head, accept_hash, accept_signature) IN (0, 4)),
  CHECK (num_nulls(cancel_by, cancel_signature) IN (0, 2)),
  CHECK (num_nulls(proposed_level, proposed_tx, proposed_block, proposed_block_hash, proposed_log_index, eta) IN (0, 6)),
  CHECK (num_nulls(accepted_level, accepted_tx, accepted_block, accepted_block_hash, accepted_log_index) IN (0, 5)),
  CHECK (num_nulls(cancelled_level, cancelled_tx, cancelled_block, cancelled_block_hash, cancelled_log_index) IN (0, 5))
);
CREATE INDEX handovers_of_tenant ON kiff.handovers (tenant, epoch_to);

ALTER TABLE kiff.custody_migrations ENABLE ROW LEVEL SECURITY;
ALTER TABLE kiff.custody_steps ENABLE ROW LEVEL SECURITY;
ALTER TABLE kiff.handovers ENABLE ROW LEVEL SECURITY;
CREATE POLICY own_rows ON kiff.custody_migrations FOR SELECT USING (tenant = kiff.session_tenant());
CREATE POLICY own_rows ON kiff.custody_steps FOR SELECT USING (tenant = kiff.session_tenant());
CREATE POLICY own_rows ON kiff.handovers FOR SELECT USING (tenant = kiff.session_tenant());
CREATE POLICY workers ON kiff.custody_migrations TO kiff_sealing, kiff_signing, kiff_anchoring, kiff_keyadmin USING (true);
CREATE POLICY workers ON kiff.custody_steps TO kiff_sealing USING (true);
CREATE POLICY workers ON kiff.handovers TO kiff_sealing, kiff_signing, kiff_anchoring, kiff_keyadmin USING (true);
GRANT SELECT ON kiff.custody_migrations, kiff.custody_steps, kiff.handovers TO kiff_tenant_logins, kiff_custody_logins, kiff_sealing;
GRANT SELECT ON kiff.custody_migrations, kiff.handovers TO kiff_signing, kiff_anchoring, kiff_keyadmin;

-- What was once signed or final stays.
CREATE FUNCTION kiff.handover_keeps_its_facts() RETURNS trigger
  LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  IF TG_OP <> 'UPDATE'
     OR (NEW.tenant, NEW.log_id, NEW.handover_hash, NEW.epoch_to, NEW.from_signer, NEW.to_signer, NEW.custody, NEW.not_before,
         NEW.expires_at, NEW.nonce) IS DISTINCT FROM
        (OLD.tenant, OLD.log_id, OLD.handover_hash, OLD.epoch_to, OLD.from_signer, OLD.to_signer, OLD.custody, OLD.not_before,
         OLD.expires_at, OLD.nonce)
     OR (OLD.to_signature IS NOT NULL AND NEW.to_signature IS DISTINCT FROM OLD.to_signature)
     OR (OLD.from_signature IS NOT NULL AND NEW.from_signature IS DISTINCT FROM OLD.from_signature)
     OR (OLD.accept_signature IS NOT NULL AND (NEW.accept_seq, NEW.accept_head, NEW.accept_hash, NEW.accept_signature)
         IS DISTINCT FROM (OLD.accept_seq, OLD.accept_head, OLD.accept_hash, OLD.accept_signature))
     OR (OLD.cancel_signature IS NOT NULL AND (NEW.cancel_by, NEW.cancel_signature) IS DISTINCT FROM (OLD.cancel_by, OLD.cancel_signature))
     OR (OLD.accepted_level = 'final' AND (NEW.accepted_level, NEW.accepted_tx, NEW.accepted_block) IS DISTINCT FROM
         (OLD.accepted_level, OLD.accepted_tx, OLD.accepted_block))
     OR (OLD.cancelled_level = 'final' AND (NEW.cancelled_level, NEW.cancelled_tx, NEW.cancelled_block) IS DISTINCT FROM
         (OLD.cancelled_level, OLD.cancelled_tx, OLD.cancelled_block)) THEN
    RAISE EXCEPTION USING ERRCODE = 'KF080', MESSAGE = 'a fixed fact of a handover cannot be changed';
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER handover_keeps_its_facts BEFORE UPDATE OR DELETE ON kiff.handovers
  FOR EACH ROW EXECUTE FUNCTION kiff.handover_keeps_its_facts();

CREATE FUNCTION kiff.custody_steps_stay() RETURNS trigger
  LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  RAISE EXCEPTION USING ERRCODE = 'KF081', MESSAGE = 'a step of a migration is appended, never changed';
END $$;
CREATE TRIGGER custody_steps_stay BEFORE UPDATE OR DELETE OR TRUNCATE ON kiff.custody_steps
  FOR EACH STATEMENT EXECUTE FUNCTION kiff.custody_steps_stay();

-- The evidence of one tenant, as it arrived: for the signer, which verifies it against `issued_at`. Only what came through the
-- custody API's login of that tenant.
CREATE FUNCTION kiff.custody_evidence(tenant_id text, kinds text[])
  RETURNS TABLE (id bigint, kind text, payload jsonb, issued_at timestamptz)
  LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
  SELECT c.id, c.kind, c.payload, c.issued_at FROM kiff.commands c
   WHERE c.tenant = tenant_id AND c.issuer = 'kiff_c' AND c.kind = ANY (kinds) ORDER BY c.id;
END;
CREATE INDEX commands_of_custody ON kiff.commands (tenant, id) WHERE issuer = 'kiff_c';
GRANT EXECUTE ON FUNCTION kiff.custody_evidence(text, text[]) TO kiff_signing;
-- An approver must still be a member at every gate (C11).
CREATE FUNCTION kiff.is_member(tenant_id text, of_user text) RETURNS boolean
  LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
  SELECT coalesce((SELECT m.member AND o.deleted_at IS NULL FROM kiff.organisations o
                     JOIN kiff.memberships m ON m.organisation = o.id
                    WHERE o.tenant = tenant_id AND m.user_id = of_user), false);
END;
GRANT EXECUTE ON FUNCTION kiff.is_member(text, text) TO kiff_signing;

-- Begins a migration for a `custody.start` command: repeatable for the same command, refused while another one is active.
CREATE FUNCTION kiff.open_custody_migration(command_id bigint, new_policy jsonb) RETURNS kiff.custody_migrations
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
  RETURN m;
END $$;

-- The new signer's address and key, once: approvals name it from here on.
CREATE FUNCTION kiff.set_new_signer(migration_id text, address bytea, key text) RETURNS void
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  UPDATE kiff.custody_migrations SET new_signer = address, key_ref = key
   WHERE id = migration_id AND ended_at IS NULL AND (new_signer IS NULL OR (new_signer = address AND key_ref = key));
  IF NOT FOUND THEN
    RAISE EXCEPTION USING ERRCODE = 'KF085', MESSAGE = 'another new signer stands for this migration';
  END IF;
END $$;

CREATE FUNCTION kiff.note_custody_step(migration_id text, at_step text, new_state text, step_proof jsonb) RETURNS void
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  -- The same news once more is no news.
  INSERT INTO kiff.custody_steps (migration, tenant, step, state, proof)
    SELECT m.id, m.tenant, at_step, new_state, step_proof FROM kiff.custody_migrations m
     WHERE m.id = migration_id AND (new_state, step_proof) IS DISTINCT FROM
       (SELECT (s.state, s.proof) FROM kiff.custody_steps s WHERE s.migration = m.id AND s.step = at_step ORDER BY s.id DESC LIMIT 1);
END $$;

CREATE FUNCTION kiff.end_custody_migration(migration_id text, new_outcome text, why text) RETURNS void
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  UPDATE kiff.custody_migrations SET ended_at = clock_timestamp(), outcome = new_outcome, reason = why
   WHERE id = migration_id AND ended_at IS NULL;
END $$;

-- Nothing new is signed for this log while its acceptance is on the way; and again once that is over.
CREATE FUNCTION kiff.hold_log(tenant_id text, hold boolean) RETURNS void
  LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
  UPDATE kiff.logs SET held_since = CASE WHEN hold THEN coalesce(held_since, clock_timestamp()) END WHERE tenant = tenant_id;
END;
GRANT EXECUTE ON FUNCTION
  kiff.open_custody_migration(bigint, jsonb),
  kiff.set_new_signer(text, bytea, text),
  kiff.note_custody_step(text, text, text, jsonb),
  kiff.end_custody_migration(text, text, text),
  kiff.hold_log(text, boolean)
TO kiff_sealing;

-- What the signer signed. Each signature is recorded once; the first stands.
CREATE FUNCTION kiff.record_handover(migration_id text, hash bytea, before bigint, until bigint, to_sig bytea, from_sig bytea) RETURNS void
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  INSERT INTO kiff.handovers AS h (tenant, log_id, handover_hash, migration, epoch_to, from_signer, to_signer, custody, not_before,
                                   expires_at, nonce, to_signature, from_signature, signed_at)
    SELECT m.tenant, m.log_id, hash, m.id, m.epoch_to, m.from_signer, m.new_signer, m.custody, before, until, m.nonce, to_sig, from_sig,
           CASE WHEN from_sig IS NOT NULL THEN clock_timestamp() END
      FROM kiff.custody_migrations m WHERE m.id = migration_id
    ON CONFLICT (log_id, handover_hash) DO UPDATE
      SET to_signature = coalesce(h.to_signature, excluded.to_signature),
          from_signature = coalesce(h.from_signature, excluded.from_signature),
          signed_at = coalesce(h.signed_at, excluded.signed_at),
          migration = coalesce(h.migration, excluded.migration);
END $$;
CREATE FUNCTION kiff.record_acceptance(of_log bytea, hash bytea, at_seq integer, at_head bytea, acceptance bytea, sig bytea) RETURNS void
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  UPDATE kiff.handovers SET accept_seq = at_seq, accept_head = at_head, accept_hash = acceptance, accept_signature = sig
   WHERE log_id = of_log AND handover_hash = hash AND accept_signature IS NULL;
END $$;
CREATE FUNCTION kiff.record_cancellation(of_log bytea, hash bytea, by_signer bytea, sig bytea) RETURNS void
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  UPDATE kiff.handovers SET cancel_by = by_signer, cancel_signature = sig
   WHERE log_id = of_log AND handover_hash = hash AND cancel_signature IS NULL;
END $$;
GRANT EXECUTE ON FUNCTION
  kiff.record_handover(text, bytea, bigint, bigint, bytea, bytea),
  kiff.record_acceptance(bytea, bytea, integer, bytea, bytea, bytea),
  kiff.record_cancellation(bytea, bytea, bytea, bytea)
TO kiff_signing;
