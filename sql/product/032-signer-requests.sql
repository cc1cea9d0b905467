-- A tenant's own signer (custody 3, design section 7), which we never can call: what the signing plane wants signed is a row here,
-- which the signer's program fetches, and what it answers is a command like everything that crosses the valve. A row asks; only a
-- signature that the signing plane has verified against its own journal answers.

-- A signer's key of the API is good for that and for nothing else.
ALTER TABLE kiff.api_keys DROP CONSTRAINT api_keys_scopes_check;
ALTER TABLE kiff.api_keys ADD CONSTRAINT api_keys_scopes_check
  CHECK (cardinality(scopes) > 0 AND (scopes <@ '{ingest,read}' OR scopes = '{signer}'));

-- `diverged`: a key that is not ours has anchored what we never saw.
ALTER TABLE kiff.logs DROP CONSTRAINT logs_frozen_reason_check;
ALTER TABLE kiff.logs ADD CONSTRAINT logs_frozen_reason_check CHECK (frozen_reason IN (
  'record-missing', 'record-altered', 'tile-altered', 'seal-altered', 'root-conflict', 'seal-conflict',
  'statement-conflict', 'not-an-extension', 'database-behind', 'chain-ahead', 'chain-differs', 'diverged', 'final-reorged',
  'clock-ahead', 'signer-lost'));

CREATE TABLE kiff.signer_requests (
  id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
  tenant text NOT NULL REFERENCES kiff.tenants (id),
  log_id bytea NOT NULL CHECK (octet_length(log_id) = 32),
  kind text NOT NULL CHECK (kind IN ('seal', 'shadow', 'proof', 'handover', 'accept', 'cancel')),
  -- Of which migration; null of a seal.
  migration text REFERENCES kiff.custody_migrations (id),
  signer bytea NOT NULL CHECK (octet_length(signer) = 20),
  struct_hash bytea NOT NULL CHECK (octet_length(struct_hash) = 32),
  -- What is signed: of the struct hash, for this chain and contract.
  digest bytea NOT NULL CHECK (octet_length(digest) = 32),
  seq integer CHECK (seq >= 1),
  -- As the signer's program gets it.
  request jsonb NOT NULL CHECK (jsonb_typeof(request) = 'object'),
  created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  signed_at timestamptz,
  -- Why the last answer was not taken, a fixed word.
  refused text CHECK (refused ~ '^[a-z][a-z-]{1,63}$'),
  refused_at timestamptz,
  -- What the signer's program said when it would not sign, in its own words.
  declined text CHECK (length(declined) <= 500),
  declined_at timestamptz,
  UNIQUE (log_id, signer, struct_hash),
  CHECK ((kind = 'seal') = (migration IS NULL)),
  CHECK ((refused IS NULL) = (refused_at IS NULL)),
  CHECK ((declined IS NULL) = (declined_at IS NULL))
);
CREATE INDEX signer_requests_open ON kiff.signer_requests (tenant, created_at) WHERE signed_at IS NULL;
ALTER TABLE kiff.signer_requests ENABLE ROW LEVEL SECURITY;

-- When a tenant's signer last asked for work, to within some seconds.
CREATE TABLE kiff.signers_seen (
  tenant text PRIMARY KEY REFERENCES kiff.tenants (id),
  seen_at timestamptz NOT NULL
);
ALTER TABLE kiff.signers_seen ENABLE ROW LEVEL SECURITY;

-- Answers of tenants' record logins: they carry a signature, and nobody but the key makes one.
INSERT INTO kiff.command_issuers (kind, issuer) VALUES ('signer.answer', 'kiff_t');
-- What a signer says of a migration comes that way too, and not through people.
DELETE FROM kiff.command_issuers WHERE kind IN ('custody.proof', 'custody.handover', 'custody.accept');
CREATE INDEX signer_answers ON kiff.commands (tenant, (payload ->> 'request')) WHERE kind = 'signer.answer';
CREATE INDEX signer_answers_open ON kiff.commands (tenant, (payload ->> 'request')) WHERE kind = 'signer.answer' AND settled_at IS NULL;

-- They are no business of the inbox's: the signer reads them where it waits for them.
DROP INDEX kiff.commands_open;
CREATE INDEX commands_open ON kiff.commands (id) WHERE settled_at IS NULL AND kind <> 'signer.answer';
CREATE OR REPLACE FUNCTION kiff.take_command()
  RETURNS TABLE (id bigint, issuer text, tenant text, kind text, payload jsonb)
  LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
  SELECT c.id, c.issuer, c.tenant, c.kind, c.payload FROM kiff.commands c
   WHERE c.settled_at IS NULL AND c.kind <> 'signer.answer' AND c.try_after <= clock_timestamp()
   ORDER BY c.id LIMIT 1 FOR UPDATE SKIP LOCKED;
END;

-- Requests that can still be answered: of the signer that the log has now, or of a migration that is under way. For the functions here.
CREATE VIEW kiff.live_signer_requests AS
  SELECT r.*
    FROM kiff.signer_requests r
    JOIN kiff.logs l ON l.tenant = r.tenant AND l.log_id = r.log_id AND l.frozen_reason IS NULL
    LEFT JOIN kiff.custody_migrations m ON m.id = r.migration
   WHERE r.signed_at IS NULL
     AND CASE WHEN r.migration IS NULL THEN r.signer = coalesce(l.current_signer, l.genesis_signer)
              ELSE m.ended_at IS NULL AND (m.given_up IS NULL OR r.kind IN ('accept', 'cancel')) END;

-- The session's tenant's requests that wait for an answer, oldest first. One that the signer's program declined comes again after five
-- minutes: what it declined for may have been put right.
CREATE FUNCTION kiff.own_signer_requests(max_requests integer)
  RETURNS TABLE (id uuid, kind text, request jsonb, created_at timestamptz, refused text)
  LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
  SELECT r.id, r.kind, r.request, r.created_at, r.refused
    FROM kiff.live_signer_requests r
   WHERE r.tenant = kiff.session_tenant()
     AND NOT EXISTS (SELECT FROM kiff.commands c
                      WHERE c.kind = 'signer.answer' AND c.tenant = r.tenant AND c.payload ->> 'request' = r.id::text
                        AND (c.settled_at IS NULL AND c.payload ? 'signature'
                             OR c.payload ? 'declined' AND c.issued_at > clock_timestamp() - interval '5 minutes'))
   ORDER BY r.created_at, r.seq, r.id LIMIT max_requests;
END;

-- One of them, with the signature that was given and stands or is still to be judged.
CREATE FUNCTION kiff.own_signer_request(request_id uuid)
  RETURNS TABLE (signer bytea, digest bytea, live boolean, signature text)
  LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
  SELECT r.signer, r.digest, EXISTS (SELECT FROM kiff.live_signer_requests v WHERE v.id = r.id),
         (SELECT c.payload ->> 'signature' FROM kiff.commands c
            LEFT JOIN kiff.command_results a ON a.command = c.id
           WHERE c.kind = 'signer.answer' AND c.tenant = r.tenant AND c.payload ->> 'request' = r.id::text
             AND c.payload ? 'signature' AND a.state IS DISTINCT FROM 'rejected'
           ORDER BY c.id LIMIT 1)
    FROM kiff.signer_requests r WHERE r.id = request_id AND r.tenant = kiff.session_tenant();
END;

-- The session's tenant's signer is there.
CREATE FUNCTION kiff.note_signer_seen() RETURNS void
  LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
  INSERT INTO kiff.signers_seen AS s (tenant, seen_at) SELECT t.id, clock_timestamp() FROM kiff.tenants t WHERE t.id = kiff.session_tenant()
    ON CONFLICT (tenant) DO UPDATE SET seen_at = excluded.seen_at WHERE s.seen_at < excluded.seen_at - interval '5 seconds';
END;

-- How far the session's tenant's signer is behind.
CREATE FUNCTION kiff.own_signer_standing()
  RETURNS TABLE (seen_at timestamptz, waiting integer, waiting_since timestamptz, first_seq integer, declined text, refused text)
  LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
  SELECT (SELECT s.seen_at FROM kiff.signers_seen s WHERE s.tenant = kiff.session_tenant()),
         count(*)::integer, min(r.created_at), min(r.seq) FILTER (WHERE r.kind = 'seal'),
         (array_agg(r.declined ORDER BY r.declined_at DESC) FILTER (WHERE r.declined IS NOT NULL))[1],
         (array_agg(r.refused ORDER BY r.refused_at DESC) FILTER (WHERE r.refused IS NOT NULL))[1]
    FROM kiff.live_signer_requests r WHERE r.tenant = kiff.session_tenant();
END;
GRANT EXECUTE ON FUNCTION kiff.own_signer_requests(integer), kiff.own_signer_request(uuid), kiff.note_signer_seen() TO kiff_tenant_logins;
GRANT EXECUTE ON FUNCTION kiff.own_signer_standing() TO kiff_tenant_logins, kiff_custody_logins;

-- The signing plane's side.

-- Asks, once for a statement and a signer. What an earlier migration has asked for in vain is the new one's.
CREATE FUNCTION kiff.ask_signer(tenant_id text, of_log bytea, new_kind text, of_migration text, asked bytea, hash bytea, to_sign bytea,
                                at_seq integer, body jsonb) RETURNS uuid
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  found_id uuid;
BEGIN
  SELECT r.id INTO found_id FROM kiff.signer_requests r WHERE r.log_id = of_log AND r.signer = asked AND r.struct_hash = hash;
  IF found_id IS NULL THEN
    INSERT INTO kiff.signer_requests (tenant, log_id, kind, migration, signer, struct_hash, digest, seq, request)
      VALUES (tenant_id, of_log, new_kind, of_migration, asked, hash, to_sign, at_seq, body)
      ON CONFLICT (log_id, signer, struct_hash) DO NOTHING RETURNING id INTO found_id;
    IF found_id IS NULL THEN
      SELECT r.id INTO found_id FROM kiff.signer_requests r WHERE r.log_id = of_log AND r.signer = asked AND r.struct_hash = hash;
    END IF;
  END IF;
  UPDATE kiff.signer_requests r SET migration = of_migration
   WHERE r.id = found_id AND r.signed_at IS NULL AND r.migration IS DISTINCT FROM of_migration AND of_migration IS NOT NULL AND r.migration IS NOT NULL;
  RETURN found_id;
END $$;

-- Answers to a request that nobody has judged yet, oldest first.
CREATE FUNCTION kiff.signer_answers(request_id uuid) RETURNS TABLE (command bigint, payload jsonb)
  LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
  SELECT c.id, c.payload
    FROM kiff.signer_requests r
    JOIN kiff.commands c ON c.kind = 'signer.answer' AND c.tenant = r.tenant AND c.payload ->> 'request' = r.id::text
   WHERE r.id = request_id AND c.issuer = 'kiff_t' AND c.settled_at IS NULL
   ORDER BY c.id LIMIT 20;
END;

-- One answer is not taken: `why` is a fixed word, or null when it declines, in words of its own.
CREATE FUNCTION kiff.refuse_signer_answer(command_id bigint, why text) RETURNS void
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  c kiff.commands;
BEGIN
  UPDATE kiff.commands k SET settled_at = clock_timestamp()
   WHERE k.id = command_id AND k.kind = 'signer.answer' AND k.settled_at IS NULL RETURNING k.* INTO c;
  IF NOT FOUND THEN
    RETURN;
  END IF;
  INSERT INTO kiff.command_results (command, issuer, tenant, kind, state, reason)
    VALUES (c.id, c.issuer, c.tenant, c.kind, CASE WHEN why IS NULL THEN 'done' ELSE 'rejected' END, why) ON CONFLICT DO NOTHING;
  UPDATE kiff.signer_requests r
     SET refused = coalesce(why, r.refused), refused_at = CASE WHEN why IS NULL THEN r.refused_at ELSE clock_timestamp() END,
         declined = CASE WHEN why IS NULL THEN left(c.payload ->> 'declined', 500) ELSE r.declined END,
         declined_at = CASE WHEN why IS NULL THEN clock_timestamp() ELSE r.declined_at END
   WHERE r.tenant = c.tenant AND r.id::text = c.payload ->> 'request' AND r.signed_at IS NULL;
END $$;

-- A statement's signature is in the journal: the request is answered, and whatever else was said of it is of no matter any more.
CREATE FUNCTION kiff.close_signer_request(request_id uuid) RETURNS void
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  r kiff.signer_requests;
BEGIN
  UPDATE kiff.signer_requests k SET signed_at = coalesce(k.signed_at, clock_timestamp()) WHERE k.id = request_id RETURNING k.* INTO r;
  WITH settled AS (
    UPDATE kiff.commands c SET settled_at = clock_timestamp()
     WHERE c.kind = 'signer.answer' AND c.tenant = r.tenant AND c.payload ->> 'request' = request_id::text AND c.settled_at IS NULL
    RETURNING c.id, c.issuer, c.tenant, c.kind)
  INSERT INTO kiff.command_results (command, issuer, tenant, kind, state)
    SELECT s.id, s.issuer, s.tenant, s.kind, 'done' FROM settled s ON CONFLICT DO NOTHING;
END $$;

-- Whether a tenant's signer has asked for work within so many seconds. A hint for how long to wait, and nothing else.
CREATE FUNCTION kiff.signer_is_there(tenant_id text, seconds integer) RETURNS boolean
  LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
  SELECT EXISTS (SELECT FROM kiff.signers_seen s WHERE s.tenant = tenant_id AND s.seen_at > clock_timestamp() - make_interval(secs => seconds));
END;
GRANT EXECUTE ON FUNCTION
  kiff.ask_signer(text, bytea, text, text, bytea, bytea, bytea, integer, jsonb),
  kiff.signer_answers(uuid),
  kiff.refuse_signer_answer(bigint, text),
  kiff.close_signer_request(uuid),
  kiff.signer_is_there(text, integer)
TO kiff_signing;

-- As before; a key that we never call has no reference.
CREATE OR REPLACE FUNCTION kiff.set_new_signer(migration_id text, address bytea, key text) RETURNS void
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  UPDATE kiff.custody_migrations SET new_signer = address, key_ref = key
   WHERE id = migration_id AND ended_at IS NULL
     AND (new_signer IS NULL OR (new_signer = address AND key_ref IS NOT DISTINCT FROM key));
  IF NOT FOUND THEN
    RAISE EXCEPTION USING ERRCODE = 'KF085', MESSAGE = 'another new signer stands for this migration';
  END IF;
END $$;
