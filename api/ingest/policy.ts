/**
 * /.well-known/kiff-policy.json: what a verifier is told to trust, `kiff.policy/1` (design section 8). Everybody gets the
 * registry and the logs that are public; another one only who holds a key of it, so that nobody learns from here whose logs
 * there are (docs/decisions/2026-11-24-policy-per-caller.md).
 */
import type { Pool } from 'pg';
import { z } from 'zod';
import { toHex, type Hex } from '../../protocol/hex.ts';
import type { Policy, PolicyLog } from '../../protocol/policy.ts';
import type { Caller } from '../access/caller.ts';
import { operation, reply, type Operation } from '../http/operation.ts';
import { Problem, unavailable } from '../http/problems.ts';
import { count, hex } from '../http/shapes.ts';
import { isUnavailable } from '../http/database.ts';
import type { LogIdentities } from './log-identity.ts';
import type { PublicLogs } from './public-logs.ts';
import type { Queryable, TenantPools } from '../http/tenant-pools.ts';
import { finalOnes, readSuccessions } from './successions.ts';

/** Strangers may ask; the database is asked this often at most. */
const CACHE_MILLISECONDS = 10_000;

interface PolicyDependencies {
  pools: TenantPools;
  logIdentity: LogIdentities;
  /** The product database with the login kiff_api. */
  directory: Pick<Pool, 'query'>;
  publicLogs: PublicLogs;
  /** Public keys that promises are, were or will be signed with; the own one first. */
  promiseKeys: readonly Hex[];
  /** Unix milliseconds. */
  now: () => number;
}

/** As protocol/policy.ts reads it; we publish no required checks, and a succession once there is a final one. */
const policyShape = z
  .object({
    format: z.literal('kiff.policy/1'),
    registry: z.object({
      chainId: count,
      contract: hex(20),
      codeHash: hex(32),
      fromBlock: count,
      periodSeconds: count,
    }),
    logs: z
      .array(
        z.object({
          origin: z.string(),
          genesisSigner: hex(20),
          checkpointKeys: z.array(hex(32)).readonly().optional(),
          promiseKeys: z.array(hex(32)).readonly().optional(),
          succession: z
            .array(z.object({ epoch: count, signer: hex(20), afterSeq: count }))
            .readonly()
            .optional(),
        }),
      )
      .readonly(),
    require: z.array(z.string()).readonly(),
  })
  .meta({ id: 'Policy' });

type LogOfPolicy = Required<Pick<PolicyLog, 'origin' | 'genesisSigner' | 'succession'>>;

interface Published {
  registry: Policy['registry'];
  checkpointKeys: Hex[];
}

export function policyOperations(dependencies: PolicyDependencies): Operation[] {
  const { pools, logIdentity, directory, publicLogs, promiseKeys, now } = dependencies;
  let cached: { until: number; published: Promise<Published> } | undefined;

  function published(): Promise<Published> {
    if (cached !== undefined && cached.until > now()) return cached.published;
    const entry = { until: now() + CACHE_MILLISECONDS, published: readPublished(directory) };
    cached = entry;
    entry.published.catch(() => {
      if (cached === entry) cached = undefined;
    });
    return entry.published;
  }

  async function ownLogs(pool: Queryable, tenant: string): Promise<LogOfPolicy[]> {
    const logs = await logIdentity.all(pool, tenant);
    const successions = await readSuccessions(
      pool,
      logs.map(({ logId }) => logId),
    );
    return logs.map(({ origin, genesisSigner, logId }) => {
      const succession = finalOnes(successions.get(logId)).map(({ epoch, signer, afterSeq }) => ({
        epoch,
        signer,
        afterSeq,
      }));
      return { origin, genesisSigner, succession };
    });
  }

  /** The caller's logs, and those that are public. */
  async function logsOf(caller: Caller | undefined, checkpointKeys: Hex[]): Promise<Policy['logs']> {
    const known = await publicLogs.list();
    const own = caller === undefined ? [] : await pools.use(caller, (pool) => ownLogs(pool, caller.tenant));
    return [...own, ...known.filter(({ tenant }) => tenant !== caller?.tenant)].map(
      ({ origin, genesisSigner, succession }) => {
        const log = { origin, genesisSigner, checkpointKeys, promiseKeys };
        return succession.length === 0 ? log : { ...log, succession };
      },
    );
  }

  return [
    operation({
      id: 'getPolicy',
      method: 'get',
      path: '/.well-known/kiff-policy.json',
      tag: 'Verification',
      summary: 'What a verifier is told to trust.',
      description:
        'Everybody gets the registry and the logs that are public; whoever sends a key gets that tenant’s logs too, those that have ended among them. A policy that was fetched from here is trust on first use.',
      access: { right: 'read-policy', optional: true },
      answers: { 200: { description: 'The policy.', schema: policyShape } },
      async handle({ caller }) {
        const { registry, checkpointKeys } = await published();
        const logs = await logsOf(caller, checkpointKeys);
        const policy: Policy = { format: 'kiff.policy/1', registry, logs, require: [] };
        return reply(200, policy, { headers: { Vary: 'Authorization', 'Cache-Control': 'no-cache' } });
      },
    }),
  ];
}

/** @throws Problem unavailable while the workers have not published what only they know */
async function readPublished(directory: Pick<Pool, 'query'>): Promise<Published> {
  interface Row {
    chain_id: number;
    contract: Buffer;
    period_seconds: number;
    code_hash: Buffer;
    from_block: number;
    checkpoint_keys: Buffer[];
  }
  const query = directory.query<Row>(
    `SELECT d.chain_id, d.contract, d.period_seconds, r.code_hash, r.from_block,
            ARRAY(SELECT k.public_key FROM kiff.checkpoint_keys k ORDER BY k.published_at DESC) AS checkpoint_keys
       FROM kiff.deployment d CROSS JOIN kiff.registry r`,
  );
  const { rows } = await query.catch((error: unknown) => {
    throw isUnavailable(error) ? unavailable(error) : error;
  });
  const row = rows[0];
  if (row === undefined || row.checkpoint_keys.length === 0) {
    throw new Problem('unavailable', 'The policy is not complete yet; try again in a moment.', { retryAfter: 5 });
  }
  return {
    registry: {
      chainId: row.chain_id,
      contract: toHex(row.contract),
      codeHash: toHex(row.code_hash),
      fromBlock: row.from_block,
      periodSeconds: row.period_seconds,
    },
    checkpointKeys: row.checkpoint_keys.map(toHex),
  };
}
