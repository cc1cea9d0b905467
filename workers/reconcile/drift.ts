/**
 * What of a running deployment is not as this version makes it: schemas, roles, role settings and grants of both databases
 * (against sql/snapshot/, the tables that docs/walls.md is made of), and the policies of all keys (against their templates).
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { KMSClient } from '@aws-sdk/client-kms';
import type { Client } from 'pg';
import { failureType } from '../../activities/failures.ts';
import { OPERATOR_ALIAS, RELAYER_ALIAS, tenantKeyAlias } from '../../activities/kms/keys.ts';
import { requireKeyPolicy, type KeyRoles } from '../../activities/kms/policy.ts';
import { CLOUD } from '../../activities/signing/signer-key.ts';
import { sqlDirectory } from '../../sql/directory.ts';
import { snapshotDatabase, snapshotRoles, snapshotTenant } from '../../sql/snapshot.ts';

/** @returns one line per difference: `+` what is there and should not be, `-` what should be there and is not */
export async function databaseDrift(product: Client, journal: Client): Promise<string[]> {
  const roles = await snapshotRoles(product);
  const drift = [
    ...differences('product', 'product', roles + (await snapshotDatabase(product))),
    ...differences('journal', 'journal', await snapshotDatabase(journal)),
  ];
  drift.push(...(await archiveDrift(product)));
  for (const tenant of await tenantsOf(product)) {
    const found = differences('tenant', `tenant ${tenant}`, await snapshotTenant(product, tenant));
    drift.push(...found.filter((line) => !OF_ARCHIVE.test(line)));
  }
  return drift;
}

/** What a tenant's login may of its own archives: judged with them. */
const OF_ARCHIVE = /: grant (?:SELECT on table|USAGE on schema) kiff_ended_\{\{tenant\}\}_\d+(?:\.|$)/;

/** Schemas of ended logs: each is one that the directory knows, and nobody but its tenant reads it (sql/archive.ts). */
async function archiveDrift(product: Client): Promise<string[]> {
  const { rows } = await product.query<{ line: string }>(
    `WITH archives AS (
       SELECT n.oid, n.nspname::text AS name, n.nspacl, e.tenant FROM pg_namespace n
         LEFT JOIN kiff.ended_logs e ON n.nspname = 'kiff_ended_' || e.tenant || '_' || e.ordinal
        WHERE n.nspname ~ '^kiff_ended_')
     SELECT 'archive ' || name || ': + a log that never ended' AS line FROM archives WHERE tenant IS NULL
     UNION ALL
     SELECT format('archive %s: + %s may %s %s', a.name, coalesce(pg_get_userbyid(nullif(g.grantee, 0)), 'PUBLIC'),
                   lower(g.privilege_type), coalesce(c.relname, 'it'))
       FROM archives a
       LEFT JOIN LATERAL (SELECT NULL::name AS relname, a.nspacl AS acl
                          UNION ALL SELECT k.relname, k.relacl FROM pg_class k WHERE k.relnamespace = a.oid AND k.relkind IN ('r', 'S')) c ON true
       CROSS JOIN LATERAL aclexplode(c.acl) g
      WHERE a.tenant IS NOT NULL AND pg_get_userbyid(g.grantee) IS DISTINCT FROM 'kiff_owner'
        AND NOT (pg_get_userbyid(g.grantee) = 'kiff_t_' || a.tenant AND g.privilege_type IN ('SELECT', 'USAGE'))
     ORDER BY line`,
  );
  return rows.map(({ line }) => line);
}

/** Tenants whose schema is made; one in onboarding is still being made. */
export async function tenantsOf(product: Client): Promise<string[]> {
  const { rows } = await product.query<{ id: string }>(
    `SELECT id FROM kiff.tenants WHERE status NOT IN ('onboarding', 'ended') ORDER BY id`,
  );
  return rows.map(({ id }) => id);
}

/** Aliases of the keys of ours that seal logs now. A log that a tenant's own key seals has none: that one's policy is the tenant's. */
export async function sealingKeys(product: Client): Promise<string[]> {
  const { rows } = await product.query<{ tenant: string; ordinal: number; key_ref: string | null }>(
    `SELECT l.tenant, l.ordinal, l.key_ref FROM kiff.logs l JOIN kiff.tenants t ON t.id = l.tenant
      WHERE t.status NOT IN ('onboarding', 'ended') AND l.custody = ${CLOUD} ORDER BY l.tenant`,
  );
  return rows.map(({ tenant, ordinal, key_ref }) => key_ref ?? tenantKeyAlias(tenant, ordinal));
}

/**
 * @param sealing aliases of the keys that seal logs
 * @returns one line per key whose policy is not its template, or that cannot be asked
 * @throws failure kms-unavailable
 */
export async function keyDrift(kms: KMSClient, roles: KeyRoles, sealing: readonly string[]): Promise<string[]> {
  const keys = [
    [RELAYER_ALIAS, 'relayer'],
    [OPERATOR_ALIAS, 'operator'],
    ...sealing.map((alias) => [alias, 'tenant'] as const),
  ] as const;
  const drift: string[] = [];
  for (const [alias, kind] of keys) {
    try {
      await requireKeyPolicy(kms, alias, kind, roles);
    } catch (error) {
      const type = failureType(error);
      if (type !== 'policy-drift' && type !== 'kms-refused') throw error;
      drift.push(`${alias}: ${type === 'policy-drift' ? 'its policy is not the template' : 'KMS refuses to show it'}`);
    }
  }
  return drift;
}

/** Compares a snapshot with the file of that name, object by object. */
function differences(file: string, where: string, found: string): string[] {
  const expected = readFileSync(join(sqlDirectory(), 'snapshot', `${file}.txt`), 'utf8');
  const [want, have] = [statements(expected), statements(found)];
  return [
    ...[...want].filter((line) => !have.has(line)).map((line) => `${where}: - ${line}`),
    ...[...have].filter((line) => !want.has(line)).map((line) => `${where}: + ${line}`),
  ];
}

/** Each line of a snapshot with the object that it is of. */
function statements(snapshot: string): Set<string> {
  let object = '';
  const found = new Set<string>();
  for (const line of snapshot.split('\n')) {
    if (line.startsWith('  ')) found.add(`${object}: ${line.trim()}`);
    else if (line !== '') object = line;
  }
  return found;
}
