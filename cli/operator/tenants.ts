/** What an operator does with tenants, over the login kiff_operator: it reads the directory and asks; it changes no log. */
import { randomBytes } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import type { Client } from 'pg';
import { createApiKey } from '../../api/ingest/api-key.ts';
import { toHex, type Hex } from '../../protocol/hex.ts';

/** Per second, in each API process; null: no limit. */
export interface Limits {
  requests: number | null;
  records: number | null;
}

/** A tenant and its log as the directory has them. Times are Unix seconds; null where something is not there yet. */
export interface TenantView {
  id: string;
  status: 'onboarding' | 'active' | 'paused' | 'ended';
  schemaVersion: number;
  createdAt: number;
  activatedAt: number | null;
  limits: Limits;
  /** Whether everybody may read its logs: its admins decide that (`PUT /v1/logs/public`). */
  logPublic: boolean;
  log: null | {
    origin: string;
    genesisSigner: Hex;
    logId: Hex;
    firstPeriod: number | null;
    registered: boolean;
    frozen: string | null;
    signedSeq: number;
    includedSeq: number;
    finalSeq: number;
  };
}

/** What an operator asked for was refused or did not come about; `message` is for a person. */
export class Refused extends Error {
  override readonly name = 'Refused';
}

const TENANT_ID = /^[a-z][a-z0-9]{2,23}$/;
/** Milliseconds between two looks at what became of a command. */
const LOOK = 100;
const NEITHER_ACTIVE_NOR_PAUSED = 'KF051';

interface Row {
  id: string;
  status: TenantView['status'];
  schema_version: number;
  created_at: Date;
  activated_at: Date | null;
  requests_per_second: number | null;
  records_per_second: number | null;
  log_public: boolean;
  origin: string | null;
  genesis_signer: Buffer;
  log_id: Buffer;
  first_period: string | null;
  registered: boolean;
  frozen_reason: string | null;
  signed_seq: number;
  included_seq: number;
  final_seq: number;
}

/** @param only a tenant's id; all of them unless given */
export async function readTenants(client: Client, only?: string): Promise<TenantView[]> {
  const { rows } = await client.query<Row>(
    `SELECT t.id, t.status, t.schema_version, t.created_at, t.activated_at, t.requests_per_second,
            t.records_per_second, t.log_public, l.origin, l.genesis_signer, l.log_id, l.first_period, l.registered_block IS NOT NULL AS registered, l.frozen_reason, l.signed_seq, l.included_seq,
            l.final_seq
       FROM kiff.tenants t LEFT JOIN kiff.logs l ON l.tenant = t.id
      WHERE $1::text IS NULL OR t.id = $1 ORDER BY t.id`,
    [only ?? null],
  );
  return rows.map((row) => ({
    id: row.id,
    status: row.status,
    schemaVersion: row.schema_version,
    createdAt: seconds(row.created_at),
    activatedAt: row.activated_at === null ? null : seconds(row.activated_at),
    limits: { requests: row.requests_per_second, records: row.records_per_second },
    logPublic: row.log_public,
    log:
      row.origin === null
        ? null
        : {
            origin: row.origin,
            genesisSigner: toHex(row.genesis_signer),
            logId: toHex(row.log_id),
            firstPeriod: row.first_period === null ? null : Number(row.first_period),
            registered: row.registered,
            frozen: row.frozen_reason,
            signedSeq: row.signed_seq,
            includedSeq: row.included_seq,
            finalSeq: row.final_seq,
          },
  }));
}

/** A tenant that an organisation waits for: being made, or its onboarding was given up. */
export interface AwaitedTenant {
  id: string;
  status: 'awaited';
  /** When the organisation signed up, Unix seconds. */
  createdAt: number;
}

export async function readAwaited(client: Client): Promise<AwaitedTenant[]> {
  const { rows } = await client.query<{ id: string; since: Date }>('SELECT id, since FROM kiff.awaited_tenants()');
  return rows.map(({ id, since }) => ({ id, status: 'awaited', createdAt: seconds(since) }));
}

/** @throws Refused when there is no such tenant */
export async function readTenant(client: Client, id: string): Promise<TenantView> {
  const [tenant] = await readTenants(client, id);
  if (tenant === undefined) throw new Refused(`there is no tenant ${id}`);
  return tenant;
}

/** A paused tenant takes no records and is not sealed; what it missed is made up after it is resumed. @throws Refused */
export async function setPaused(client: Client, id: string, paused: boolean): Promise<void> {
  try {
    await client.query('SELECT kiff.set_paused($1, $2)', [id, paused]);
  } catch (error) {
    if ((error as { code?: string }).code !== NEITHER_ACTIVE_NOR_PAUSED) throw error;
    throw new Refused(`tenant ${id} is neither active nor paused`);
  }
}

/**
 * Sets both limits of a tenant, or of one of its keys. Every API process knows them within 5 seconds.
 * @param keyId null: the tenant's own
 * @throws Refused when there is no such tenant, or it has no such key
 */
export async function setLimits(client: Client, id: string, keyId: string | null, limits: Limits): Promise<void> {
  const { rows } = await client.query<{ found: boolean }>('SELECT kiff.set_limits($1, $2, $3, $4) AS found', [
    id,
    keyId,
    limits.requests,
    limits.records,
  ]);
  if (rows[0]?.found === true) return;
  throw new Refused(keyId === null ? `there is no tenant ${id}` : `tenant ${id} has no key ${keyId}`);
}

/**
 * A key that is shown now and never again. Null: the tenant had a key already, or an organisation signed up for it; its admins
 * make keys then.
 */
export interface CreatedTenant {
  tenant: TenantView;
  apiKey: string | null;
}

/**
 * Asks for a tenant's onboarding, waits until it is active, and gives it its first API key, whose hash is all that leaves this
 * process. Asked again, it goes on where it was.
 * @param patience milliseconds
 * @throws Refused when the onboarding failed (everything is undone then), or is still going on when patience ends
 */
export async function createTenant(client: Client, id: string, patience: number): Promise<CreatedTenant> {
  if (!TENANT_ID.test(id)) throw new Refused('a tenant id is 3 to 24 of a-z and 0-9 and begins with a letter');
  const deadline = Date.now() + patience;
  const ref = randomBytes(16).toString('hex');
  const ofOrganisation = (await readAwaited(client)).some((awaited) => awaited.id === id);
  await client.query('INSERT INTO kiff.commands (kind, payload) VALUES ($1, $2)', [
    'tenant.onboard',
    JSON.stringify({ tenantId: id, ref }),
  ]);
  const reason = await until(deadline, id, async () => {
    const { rows } = await client.query<{ state: string; reason: string | null }>(
      'SELECT state, reason FROM kiff.command_results WHERE ref = $1',
      [ref],
    );
    const [result] = rows;
    return result === undefined || result.state === 'started' ? undefined : (result.reason ?? 'done');
  });
  if (reason === 'already-started') {
    // Somebody asked before, perhaps we: the onboarding is going on, or is long done.
    await until(deadline, id, async () => (await readTenant(client, id)).status !== 'onboarding' || undefined);
  } else if (reason !== 'done') {
    throw new Refused(`the onboarding of ${id} failed: ${reason}`);
  }
  // What its admins can do, nobody does for them.
  if (ofOrganisation) return { tenant: await readTenant(client, id), apiKey: null };
  const { id: keyId, key, hash } = createApiKey(id);
  const { rows } = await client.query<{ added: boolean }>('SELECT kiff.add_first_key($1, $2, $3, $4) AS added', [
    id,
    keyId,
    hash,
    'first key',
  ]);
  return { tenant: await readTenant(client, id), apiKey: rows[0]?.added === true ? key : null };
}

async function until<T>(deadline: number, id: string, look: () => Promise<T | undefined>): Promise<T> {
  for (;;) {
    const seen = await look();
    if (seen !== undefined) return seen;
    if (Date.now() > deadline) throw new Refused(`the onboarding of ${id} is still going on; ask again later`);
    await delay(LOOK);
  }
}

function seconds(date: Date): number {
  return Math.floor(date.getTime() / 1000);
}
