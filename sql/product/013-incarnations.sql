-- Which incarnation of the deployment's data this database is. A restored backup carries the name that it had, while the
-- configuration of the processes carries a new one (docs/recovery.md): they stay away from each other until an operator's
-- recovery has compared the database with journal and chain, and writes the new name here. Names are never used twice.

-- Changes when a dump is restored or a database is copied, so that a configuration that was forgotten does not open it.
-- (A copy of the files, or a recovery to a point in time, keeps it: then it is the name that keeps the database closed.)
CREATE FUNCTION kiff.database_identity() RETURNS text
  LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
  RETURN (SELECT c.system_identifier || '/' || d.oid
            FROM pg_control_system() c, pg_database d WHERE d.datname = current_database());

CREATE TABLE kiff.incarnations (
  id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  name text NOT NULL UNIQUE CHECK (name ~ '^[a-z0-9][a-z0-9-]{0,63}$'),
  database_identity text NOT NULL DEFAULT kiff.database_identity(),
  opened_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- Whether this is the database that a process was configured for. Every process asks on each connection that it opens.
CREATE FUNCTION kiff.opened_as(incarnation text) RETURNS boolean
  LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
  RETURN coalesce((SELECT i.name = incarnation AND i.database_identity = kiff.database_identity()
                     FROM kiff.incarnations i ORDER BY i.id DESC LIMIT 1), false);
GRANT EXECUTE ON FUNCTION kiff.opened_as(text) TO PUBLIC;
