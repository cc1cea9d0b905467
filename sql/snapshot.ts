/**
 * What the migrations make, as text: sql/snapshot/ holds it, so a change of a column, an owner or a grant is a line in a
 * review. It reads the catalogue of PostgreSQL 18 as a superuser; an owner's rights to its own objects go without saying.
 * Long because it is a list: one query for each kind of line.
 */
import type { Client } from 'pg';
import { custodyRole, tenantSchema } from './login.ts';

/**
 * The database at hand with its schemas, except the tenants'. Its own name is not part of the text. Like the other two, it
 * leaves the connection with `search_path = pg_catalog, pg_temp`, so that every other name is written in full.
 */
export async function snapshotDatabase(client: Client): Promise<string> {
  const { rows } = await client.query<{ name: string }>(
    `SELECT nspname::text AS name FROM pg_namespace
      WHERE nspname !~ '^(pg_|kiff_([tc]|ended)_)' AND nspname <> 'information_schema' ORDER BY nspname`,
  );
  let text = await sections(client, DATABASE);
  for (const { name } of rows) text += await snapshotSchema(client, name, '');
  return text;
}

/** All roles of the cluster but the superuser that made it, PostgreSQL's own, and the tenants' logins. */
export async function snapshotRoles(client: Client): Promise<string> {
  return sections(client, ROLES, '^(?!pg_|kiff_[tc]_)');
}

/**
 * A tenant's logins and schema, with `{{tenant}}` for its id, as in the migrations.
 * @param tenantId one that is part of no other name
 */
export async function snapshotTenant(client: Client, tenantId: string): Promise<string> {
  const schema = tenantSchema(tenantId);
  let text = '';
  for (const login of [custodyRole(tenantId), schema]) text += await sections(client, ROLES, `^${login}$`, login);
  return `${text}${await snapshotSchema(client, schema, tenantId)}`.replaceAll(tenantId, '{{tenant}}');
}

async function snapshotSchema(client: Client, schema: string, tenantId: string): Promise<string> {
  return (await sections(client, SCHEMA, schema)) + (await sections(client, FUNCTIONS, schema, tenantId));
}

/** Runs queries that answer (object, position, line), and writes each object with its lines, query by query. */
async function sections(client: Client, queries: readonly string[], $1 = '', $2 = ''): Promise<string> {
  await client.query('SET search_path = pg_catalog, pg_temp');
  const objects = new Map<string, string[]>();
  for (const query of queries) {
    const { rows } = await client.query<{ object: string; line: string }>(
      `WITH given AS (SELECT $1::text, $2::text) SELECT object, line FROM (${query}) AS q (object, position, line)
        WHERE line IS NOT NULL ORDER BY object COLLATE "C", position, line COLLATE "C"`,
      [$1, $2],
    );
    for (const { object, line } of rows) {
      const lines = objects.get(object) ?? [];
      objects.set(object, lines);
      lines.push(`  ${line}\n`);
    }
  }
  return [...objects.keys()].map((object) => `${object}\n${objects.get(object)!.join('')}\n`).join('');
}

/**
 * Joins one row per grantee, with what an access list (or, without one, the built-in default) grants it. What a tenant's
 * login is granted outside of tenants' schemas stands with the login.
 */
const grants = (acl: string, owner: string): string => `
  LATERAL (
    SELECT 'grant ' || string_agg(privilege_type || CASE WHEN is_grantable THEN ' with grant option' ELSE '' END, ', '
                                  ORDER BY privilege_type COLLATE "C") AS what,
           ' to ' || CASE grantee WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(grantee) END AS whom
      FROM aclexplode(${acl})
     WHERE grantee <> ${owner} AND ($1 ~ '^kiff_[tc]_' OR pg_get_userbyid(grantee) !~ '^kiff_[tc]_') GROUP BY grantee) g`;

const DATABASE = [
  `SELECT 'database', 0, 'owner ' || pg_get_userbyid(datdba) FROM pg_database WHERE datname = current_database()`,
  `SELECT 'database', 0, g.what || g.whom FROM pg_database,
     ${grants(`coalesce(datacl, acldefault('d', datdba))`, 'datdba')}
    WHERE datname = current_database()`,
  `SELECT 'database', 0, 'set ' || unnest(setconfig) FROM pg_db_role_setting
    WHERE setrole = 0 AND setdatabase = (SELECT oid FROM pg_database WHERE datname = current_database())`,
  `SELECT 'database', 0, 'extension ' || extname FROM pg_extension`,
  `SELECT 'database', 0, 'event trigger ' || evtname FROM pg_event_trigger`,
  `SELECT 'default privileges for ' || pg_get_userbyid(defaclrole), 0,
          concat(CASE defaclobjtype WHEN 'r' THEN 'tables' WHEN 'S' THEN 'sequences' WHEN 'f' THEN 'functions'
                      WHEN 'T' THEN 'types' WHEN 'n' THEN 'schemas' ELSE 'large objects' END,
                 ' in ' || nullif(defaclnamespace, 0)::regnamespace, ': ', coalesce(g.what || g.whom, 'no grant'))
     FROM pg_default_acl LEFT JOIN ${grants('defaclacl', 'defaclrole')} ON true`,
];

/** $1 is a pattern of role names; what a role is granted outside of schema $2 is listed for tenants' logins. */
const ROLES = [
  `SELECT 'role ' || rolname, 0,
          concat_ws(' ', CASE WHEN rolcanlogin THEN 'login' ELSE 'nologin' END,
                    CASE WHEN rolinherit THEN 'inherit' ELSE 'noinherit' END, CASE WHEN rolsuper THEN 'superuser' END,
                    CASE WHEN rolcreaterole THEN 'createrole' END, CASE WHEN rolcreatedb THEN 'createdb' END,
                    CASE WHEN rolreplication THEN 'replication' END, CASE WHEN rolbypassrls THEN 'bypassrls' END,
                    'connection limit ' || nullif(rolconnlimit, -1), 'valid until ' || rolvaliduntil)
     FROM pg_roles WHERE oid <> 10 AND rolname ~ $1`,
  `SELECT 'role ' || rolname, 0, 'set ' || unnest(setconfig)
     FROM pg_db_role_setting JOIN pg_roles r ON r.oid = setrole
    WHERE rolname ~ $1 AND setdatabase IN (0, (SELECT oid FROM pg_database WHERE datname = current_database()))`,
  `SELECT 'role ' || m.rolname, 0,
          concat_ws(', ', 'member of ' || r.rolname, CASE WHEN admin_option THEN 'admin' END,
                    CASE WHEN inherit_option THEN 'inherit' END, CASE WHEN set_option THEN 'set role' END)
     FROM pg_auth_members JOIN pg_roles r ON r.oid = roleid JOIN pg_roles m ON m.oid = member
    WHERE r.rolname ~ $1 AND (m.rolname !~ '^kiff_[tc]_' OR m.rolname ~ $1)
       OR m.rolname ~ $1 AND r.rolname !~ '^kiff_[tc]_'`,
  `SELECT 'role ' || rolname, 0, 'grant ' || privilege_type || CASE WHEN is_grantable THEN ' with grant option' ELSE '' END
          || ' on ' || o.type || CASE o.type WHEN 'database' THEN '' ELSE ' ' || o.identity END
     FROM pg_roles r JOIN pg_shdepend d ON refclassid = 'pg_authid'::regclass AND refobjid = r.oid AND deptype = 'a'
      AND (dbid = (SELECT oid FROM pg_database WHERE datname = current_database())
           OR classid = 'pg_database'::regclass AND objid = (SELECT oid FROM pg_database WHERE datname = current_database())),
          pg_identify_object(classid, objid, objsubid) o, aclexplode(pg_get_acl(classid, objid, objsubid)) a
    WHERE rolname = $2 AND a.grantee = r.oid AND $2 NOT IN (coalesce(o.schema, ''), o.identity)`,
];

const RELATION = `CASE relkind WHEN 'r' THEN 'table ' WHEN 'p' THEN 'partitioned table ' WHEN 'v' THEN 'view '
  WHEN 'm' THEN 'materialized view ' WHEN 'S' THEN 'sequence ' WHEN 'f' THEN 'foreign table ' ELSE 'type ' END
  || $1 || '.' || relname`;
const OF_RELATIONS = `relnamespace = $1::regnamespace AND relkind NOT IN ('i', 'I', 't')`;

const SCHEMA = [
  `SELECT 'schema ' || nspname, 0, 'owner ' || pg_get_userbyid(nspowner) FROM pg_namespace WHERE nspname = $1`,
  `SELECT 'schema ' || nspname, 0, g.what || g.whom FROM pg_namespace,
     ${grants(`coalesce(nspacl, acldefault('n', nspowner))`, 'nspowner')} WHERE nspname = $1`,
  // Kinds that have no section of their own, by name. That the superuser owns something is recorded nowhere.
  `SELECT o.type || ' ' || o.identity, 0, 'owner ' || coalesce(pg_get_userbyid(s.refobjid), 'superuser')
     FROM pg_depend d LEFT JOIN pg_shdepend s ON (s.classid, s.objid, s.deptype) = (d.classid, d.objid, 'o')
      AND s.dbid = (SELECT oid FROM pg_database WHERE datname = current_database()),
          pg_identify_object(d.classid, d.objid, d.objsubid) o
    WHERE d.refclassid = 'pg_namespace'::regclass AND d.refobjid = $1::regnamespace
      AND d.classid NOT IN ('pg_class'::regclass, 'pg_proc'::regclass, 'pg_default_acl'::regclass)`,
  `SELECT ${RELATION}, 0,
          concat_ws(' ', 'owner', pg_get_userbyid(relowner), CASE relpersistence WHEN 'u' THEN 'unlogged' END,
                    'with ' || array_to_string(reloptions, ', '))
     FROM pg_class WHERE ${OF_RELATIONS}`,
  `SELECT ${RELATION}, 0, concat_ws(' ', format_type(seqtypid, NULL), 'start', seqstart, 'increment', seqincrement,
                                    'from', seqmin, 'to', seqmax, 'cache', seqcache, CASE WHEN seqcycle THEN 'cycle' END)
     FROM pg_class c JOIN pg_sequence ON seqrelid = c.oid WHERE ${OF_RELATIONS}`,
  `SELECT ${RELATION}, attnum,
          concat_ws(' ', 'column', attname, format_type(atttypid, atttypmod),
            CASE WHEN attcollation <> typcollation THEN 'collate ' || attcollation::regcollation END,
            CASE WHEN attnotnull THEN 'not null' END,
            CASE attidentity WHEN 'a' THEN 'generated always as identity' WHEN 'd' THEN 'generated by default as identity' END,
            CASE attgenerated WHEN '' THEN 'default ' ELSE 'generated always as ' END || pg_get_expr(adbin, adrelid),
            CASE WHEN attstorage <> typstorage THEN
              'storage ' || CASE attstorage WHEN 'p' THEN 'plain' WHEN 'e' THEN 'external' WHEN 'm' THEN 'main' ELSE 'extended' END
            END)
     FROM pg_class c JOIN pg_attribute a ON attrelid = c.oid JOIN pg_type t ON t.oid = atttypid
     LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
    WHERE ${OF_RELATIONS} AND relkind <> 'S' AND attnum > 0 AND NOT attisdropped`,
  // NOT NULL stands with its column.
  `SELECT ${RELATION}, 0, concat_ws(' ', 'constraint', conname, pg_get_constraintdef(k.oid))
     FROM pg_class c JOIN pg_constraint k ON conrelid = c.oid WHERE ${OF_RELATIONS} AND contype <> 'n'`,
  `SELECT ${RELATION}, 0, pg_get_indexdef(indexrelid) || CASE WHEN indisvalid THEN '' ELSE ' (not valid)' END
     FROM pg_class c JOIN pg_index ON indrelid = c.oid WHERE ${OF_RELATIONS}`,
  `SELECT ${RELATION}, 0, pg_get_triggerdef(t.oid) ||
          CASE tgenabled WHEN 'O' THEN '' WHEN 'D' THEN ' (disabled)' WHEN 'A' THEN ' (always)' ELSE ' (replica)' END
     FROM pg_class c JOIN pg_trigger t ON tgrelid = c.oid WHERE ${OF_RELATIONS} AND NOT tgisinternal`,
  // A view's query is its rule.
  `SELECT ${RELATION}, 0, regexp_replace(pg_get_ruledef(r.oid), '\\s+', ' ', 'g')
     FROM pg_class c JOIN pg_rewrite r ON ev_class = c.oid WHERE ${OF_RELATIONS}`,
  `SELECT ${RELATION}, 0, 'row security ' || CASE WHEN relrowsecurity THEN 'enabled' ELSE 'not enabled' END ||
          CASE WHEN relforcerowsecurity THEN ', also for the owner' ELSE '' END
     FROM pg_class WHERE ${OF_RELATIONS} AND (relrowsecurity OR relforcerowsecurity)`,
  `SELECT ${RELATION}, 0, concat_ws(' ', 'policy', policyname, lower(permissive), 'for', cmd, 'to',
            CASE roles WHEN '{public}' THEN 'PUBLIC' ELSE array_to_string(roles, ', ') END,
            'using ' || qual, 'with check ' || with_check)
     FROM pg_class JOIN pg_policies ON schemaname = $1 AND tablename = relname WHERE ${OF_RELATIONS}`,
  `SELECT ${RELATION}, 0, g.what || g.whom FROM pg_class,
     ${grants(`coalesce(relacl, acldefault(CASE relkind WHEN 'S' THEN 's' ELSE 'r' END::"char", relowner))`, 'relowner')} WHERE ${OF_RELATIONS}`,
  `SELECT ${RELATION}, attnum, g.what || ' (' || attname || ')' || g.whom
     FROM pg_class c JOIN pg_attribute ON attrelid = c.oid, ${grants('attacl', 'relowner')} WHERE ${OF_RELATIONS}`,
];

/** $2 is a tenant's id: with the placeholder back in its place, a body's hash is that of the text in the migration. */
const FUNCTION = `CASE prokind WHEN 'p' THEN 'procedure ' WHEN 'a' THEN 'aggregate ' WHEN 'w' THEN 'window function '
  ELSE 'function ' END || $1 || '.' || proname || '(' || pg_get_function_arguments(p.oid) || ')'
  || coalesce(' returns ' || pg_get_function_result(p.oid), '')`;
const FUNCTIONS = [
  `SELECT ${FUNCTION}, 0, 'owner ' || pg_get_userbyid(proowner) FROM pg_proc p WHERE pronamespace = $1::regnamespace`,
  `SELECT ${FUNCTION}, 0,
          concat_ws(' ', 'language', lanname, CASE provolatile WHEN 'i' THEN 'immutable' WHEN 's' THEN 'stable' ELSE 'volatile' END,
                    'parallel', CASE proparallel WHEN 's' THEN 'safe' WHEN 'r' THEN 'restricted' ELSE 'unsafe' END,
                    CASE WHEN proisstrict THEN 'strict' END, CASE WHEN proleakproof THEN 'leakproof' END,
                    CASE WHEN prosecdef THEN 'SECURITY DEFINER' END)
     FROM pg_proc p JOIN pg_language l ON l.oid = prolang WHERE pronamespace = $1::regnamespace`,
  `SELECT ${FUNCTION}, 0, 'set ' || unnest(proconfig) FROM pg_proc p WHERE pronamespace = $1::regnamespace`,
  `SELECT ${FUNCTION}, 0, 'body sha256 ' || encode(sha256(convert_to(
            replace(coalesce(pg_get_function_sqlbody(p.oid), prosrc), $2, '{{tenant}}'), 'UTF8')), 'hex')
     FROM pg_proc p WHERE pronamespace = $1::regnamespace`,
  `SELECT ${FUNCTION}, 0, g.what || g.whom FROM pg_proc p,
     ${grants(`coalesce(proacl, acldefault('f', proowner))`, 'proowner')} WHERE pronamespace = $1::regnamespace`,
];
