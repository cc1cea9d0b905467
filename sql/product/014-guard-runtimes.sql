-- Which guards of the KIFF SDK are connected. What is evidence of it stands in the tenant's log, one record for each connect;
-- this is the directory of who was seen last, as one keeps a list of keys: a row says nothing that a record does not.

CREATE TABLE kiff.guard_runtimes (
  tenant text NOT NULL REFERENCES kiff.tenants (id),
  id text NOT NULL CHECK (id ~ '^rt_[0-9a-f]{24}$'),
  agent_id text NOT NULL CHECK (length(agent_id) BETWEEN 1 AND 256),
  adapter text NOT NULL CHECK (length(adapter) BETWEEN 1 AND 256),
  mode text NOT NULL CHECK (mode IN ('observe', 'enforce')),
  project text NOT NULL CHECK (length(project) BETWEEN 1 AND 256),
  environment text NOT NULL CHECK (length(environment) BETWEEN 1 AND 256),
  workflow text NOT NULL CHECK (length(workflow) BETWEEN 1 AND 256),
  sdk_version text NOT NULL CHECK (length(sdk_version) <= 256),
  first_seen_at timestamptz(3) NOT NULL DEFAULT clock_timestamp(),
  last_seen_at timestamptz(3) NOT NULL DEFAULT clock_timestamp(),
  seen_count bigint NOT NULL DEFAULT 1,
  PRIMARY KEY (tenant, id)
) WITH (fillfactor = 70); -- one update a minute and row: leave room for HOT updates

ALTER TABLE kiff.guard_runtimes ENABLE ROW LEVEL SECURITY;
CREATE POLICY own_rows ON kiff.guard_runtimes FOR SELECT USING (tenant = kiff.session_tenant());
GRANT SELECT ON kiff.guard_runtimes TO kiff_tenant_logins;

-- A guard of the session's tenant has connected. Names are the agent's own, so a tenant keeps the 1,000 that were seen
-- last and no more; a guard that was forgotten begins anew.
CREATE FUNCTION kiff.see_runtime(runtime text, agent text, adapter text, mode text, project text, environment text,
                                 workflow text, sdk_version text)
  RETURNS TABLE (first_seen_at timestamptz, last_seen_at timestamptz, seen_count bigint)
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
  RETURN QUERY
  INSERT INTO kiff.guard_runtimes AS r (tenant, id, agent_id, adapter, mode, project, environment, workflow, sdk_version)
    VALUES (kiff.session_tenant(), runtime, agent, see_runtime.adapter, see_runtime.mode, see_runtime.project,
            see_runtime.environment, see_runtime.workflow, see_runtime.sdk_version)
    ON CONFLICT (tenant, id) DO UPDATE
      SET adapter = excluded.adapter, mode = excluded.mode, sdk_version = excluded.sdk_version,
          last_seen_at = clock_timestamp(), seen_count = r.seen_count + 1
    RETURNING r.first_seen_at::timestamptz, r.last_seen_at::timestamptz, r.seen_count;
  DELETE FROM kiff.guard_runtimes r USING
    (SELECT k.tenant, k.id FROM kiff.guard_runtimes k WHERE k.tenant = kiff.session_tenant()
      ORDER BY k.last_seen_at DESC OFFSET 1000) old
   WHERE r.tenant = old.tenant AND r.id = old.id;
END $$;
GRANT EXECUTE ON FUNCTION kiff.see_runtime(text, text, text, text, text, text, text, text) TO kiff_tenant_logins;
