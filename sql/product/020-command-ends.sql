-- What came of a command in the end: its row is locked before its result is written. The other way round, the result's
-- foreign key waited for an inbox that held the command and was itself waiting for the result: a deadlock.
CREATE OR REPLACE FUNCTION kiff.finish_command(command_id bigint, new_state text, new_reason text) RETURNS void
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  IF new_state NOT IN ('done', 'failed') THEN
    RAISE EXCEPTION USING ERRCODE = 'KF050', MESSAGE = 'a command ends as done or failed';
  END IF;
  PERFORM FROM kiff.commands c WHERE c.id = command_id FOR KEY SHARE;
  INSERT INTO kiff.command_results AS r (command, issuer, tenant, kind, ref, state, reason)
    SELECT c.id, c.issuer, c.tenant, c.kind, substring(c.payload ->> 'ref' FROM '^[A-Za-z0-9_-]{1,64}$'), new_state, new_reason
      FROM kiff.commands c WHERE c.id = command_id
    ON CONFLICT (command) DO UPDATE SET state = excluded.state, reason = excluded.reason, changed_at = clock_timestamp()
      WHERE r.state = 'started';
END $$;
