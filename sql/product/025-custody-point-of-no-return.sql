-- The point of no return, in the product database's terms: an acceptance that was signed is recorded whatever a workflow thought
-- by then, and takes a migration's giving up back. From there on only the handover's death undoes.

-- A handover that the new key accepted and that nothing has killed: it goes forward, whoever gave up.
CREATE FUNCTION kiff.past_no_return(migration_id text) RETURNS boolean
  LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
  SELECT EXISTS (SELECT FROM kiff.handovers h
                  WHERE h.migration = migration_id
                    AND (h.accepted_level = 'final' OR (h.accept_signature IS NOT NULL
                         AND h.cancelled_level IS DISTINCT FROM 'final' AND h.lapsed_block IS NULL)));
END;

CREATE OR REPLACE FUNCTION kiff.give_up_custody(migration_id text, why text) RETURNS boolean
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  PERFORM FROM kiff.custody_migrations m WHERE m.id = migration_id FOR UPDATE;
  IF kiff.past_no_return(migration_id) THEN
    RETURN false;
  END IF;
  UPDATE kiff.custody_migrations m SET given_up = coalesce(m.given_up, why) WHERE m.id = migration_id AND m.ended_at IS NULL;
  RETURN true;
END $$;

CREATE OR REPLACE FUNCTION kiff.record_acceptance(of_log bytea, hash bytea, at_seq integer, at_head bytea, acceptance bytea, sig bytea) RETURNS void
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  UPDATE kiff.custody_migrations m SET given_up = NULL FROM kiff.handovers h
   WHERE h.log_id = of_log AND h.handover_hash = hash AND m.id = h.migration AND m.ended_at IS NULL;
  UPDATE kiff.handovers SET accept_seq = at_seq, accept_head = at_head, accept_hash = acceptance, accept_signature = sig
   WHERE log_id = of_log AND handover_hash = hash AND accept_signature IS NULL;
END $$;

-- Nothing new is signed for this log while its acceptance is on the way. Only for a migration that is under way: a word that
-- comes late must not hold a log for ever.
CREATE FUNCTION kiff.hold_log_for(migration_id text, hold boolean) RETURNS void
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  m kiff.custody_migrations;
BEGIN
  SELECT k.* INTO m FROM kiff.custody_migrations k JOIN kiff.logs l ON l.tenant = k.tenant WHERE k.id = migration_id FOR UPDATE OF l;
  UPDATE kiff.logs l SET held_since = CASE WHEN hold THEN coalesce(l.held_since, clock_timestamp()) END
   WHERE l.tenant = m.tenant
     AND (NOT hold OR (m.ended_at IS NULL AND m.given_up IS NULL AND NOT kiff.handed_over(m.id)));
END $$;
REVOKE EXECUTE ON FUNCTION kiff.hold_log(text, boolean) FROM kiff_sealing;
DROP FUNCTION kiff.hold_log(text, boolean);
GRANT EXECUTE ON FUNCTION kiff.hold_log_for(text, boolean) TO kiff_sealing;
