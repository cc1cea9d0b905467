/** /v1/logs: the tenant's logs. Almost always one; a log that could not be sealed any more has ended and another one has begun. */
import { z } from 'zod';
import { operation, reply, type Operation } from '../http/operation.ts';
import { ownSignerShape, readOwnSigner } from '../http/own-signer.ts';
import { count, hex, wholeNumber } from '../http/shapes.ts';
import type { LogIdentities, LogIdentity } from './log-identity.ts';
import type { Queryable, TenantPools } from '../http/tenant-pools.ts';
import { readSigned } from './seals.ts';
import { finalOnes, readSuccessions, successionShape, type Succession } from './successions.ts';

/** Which log a question is about. */
export const ofLog = z.object({
  log: wholeNumber(1).optional().describe('The number of a log that may have ended; the current one unless given'),
});

interface LogsDependencies {
  pools: TenantPools;
  logIdentity: LogIdentities;
}

const logShape = z
  .object({
    log: count.describe('1 for the first'),
    origin: z.string(),
    logId: hex(32),
    genesisSigner: hex(20),
    signer: hex(20).describe('Who signs now: the genesis signer, or whoever the last final succession named'),
    epoch: count.describe('How many successions there were'),
    custody: count.describe('1 cloud, 2 tenant-kms, 3 tenant-agent; after a succession the signers’ claim'),
    succession: z.array(successionShape).describe('Every final succession, oldest first'),
    ownSigner: ownSignerShape
      .extend({
        signedSeq: count.describe('The last seal that is signed; 0 when none is'),
        unsigned: count.describe('Seals behind it that have a root and no signature yet'),
      })
      .nullable()
      .describe(
        'Of a tenant-agent, and while a migration to one asks for signatures: how far it is behind; null of ended logs',
      ),
    end: z
      .string()
      .nullable()
      .describe('The operator’s signed statement that it has ended, for kiff verify --end; null of the current log'),
  })
  .meta({ id: 'Log' });

const publicity = z.object({ public: z.boolean().describe('Whether everybody may read them under /t/') });

const MAX_BODY_BYTES = 1024;

export function logsOperations({ pools, logIdentity }: LogsDependencies): Operation[] {
  return [
    operation({
      id: 'listLogs',
      method: 'get',
      path: '/v1/logs',
      tag: 'Logs',
      summary: 'The current log and those that have ended, the newest first.',
      access: { right: 'read' },
      answers: { 200: { description: 'The logs.', schema: publicity.extend({ logs: z.array(logShape) }) } },
      async handle({ caller }) {
        const { logs, successions, isPublic, ownSigner } = await pools.use(caller, async (pool) => {
          const all = await logIdentity.all(pool, caller.tenant);
          const [current] = all;
          const known = await readSuccessions(
            pool,
            all.map(({ logId }) => logId),
          );
          return {
            logs: all,
            successions: known,
            isPublic: await readPublicity(pool, caller.tenant),
            ownSigner: await readLag(pool, current, custodyOf(finalOnes(known.get(current.logId)))),
          };
        });
        return reply(200, {
          public: isPublic,
          logs: logs.map(({ ordinal, origin, logId, genesisSigner, end }) => {
            const succession = finalOnes(successions.get(logId));
            const last = succession.at(-1);
            return {
              log: ordinal,
              origin,
              logId,
              genesisSigner,
              signer: last?.signer ?? genesisSigner,
              epoch: last?.epoch ?? 0,
              custody: custodyOf(succession),
              succession: succession.map(({ epoch, signer, afterSeq, custody, handover }) => ({
                epoch,
                signer,
                afterSeq,
                custody,
                transaction: handover?.accepted.txHash ?? null,
              })),
              // Nobody signs for a log that has ended.
              ownSigner: end === null ? ownSigner : null,
              end,
            };
          }),
        });
      },
    }),

    operation({
      id: 'setLogsPublic',
      method: 'put',
      path: '/v1/logs/public',
      tag: 'Logs',
      summary: 'Let everybody read the logs, or only who holds a key.',
      description:
        'Of public logs everybody sees the entries: ids and times of records, ids of API keys, and commitments; never what a record says. It counts within 5 seconds everywhere. Taking it back closes the logs here; what caches and readers have copied by then they keep.',
      access: { right: 'publish-log' },
      body: { schema: z.strictObject({ public: z.boolean() }), maxBytes: MAX_BODY_BYTES },
      answers: { 200: { description: 'So it is from now on.', schema: publicity } },
      examples: {
        bodies: [{ summary: 'For everybody', type: 'application/json', value: { public: true } }],
      },
      async handle({ caller, body }) {
        await pools.use(caller, (pool) => pool.query('SELECT kiff.set_log_public($1, $2)', [body.public, caller.by]));
        return reply(200, { public: body.public });
      },
    }),
  ];
}

const custodyOf = (succession: readonly Succession[]): number => succession.at(-1)?.custody ?? 1;

async function readLag(
  pool: Queryable,
  log: LogIdentity,
  custody: number,
): Promise<z.input<typeof logShape>['ownSigner']> {
  const standing = await readOwnSigner(pool, custody);
  return standing && { ...standing, ...(await readSigned(pool, log)) };
}

async function readPublicity(pool: Queryable, tenant: string): Promise<boolean> {
  const { rows } = await pool.query<{ log_public: boolean }>('SELECT log_public FROM kiff.tenants WHERE id = $1', [
    tenant,
  ]);
  return rows[0]?.log_public === true;
}
