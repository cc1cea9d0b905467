/** /v1/logs: the tenant's logs. Almost always one; a log that could not be sealed any more has ended and another one has begun. */
import { z } from 'zod';
import { operation, reply, type Operation } from '../http/operation.ts';
import { count, hex, wholeNumber } from '../http/shapes.ts';
import type { LogIdentities } from './log-identity.ts';
import type { TenantPools } from '../http/tenant-pools.ts';
import { finalOnes, readSuccessions, successionShape } from './successions.ts';

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
    end: z
      .string()
      .nullable()
      .describe('The operator’s signed statement that it has ended, for kiff verify --end; null of the current log'),
  })
  .meta({ id: 'Log' });

export function logsOperations({ pools, logIdentity }: LogsDependencies): Operation[] {
  return [
    operation({
      id: 'listLogs',
      method: 'get',
      path: '/v1/logs',
      tag: 'Logs',
      summary: 'The current log and those that have ended, the newest first.',
      access: { right: 'read' },
      answers: { 200: { description: 'The logs.', schema: z.object({ logs: z.array(logShape) }) } },
      async handle({ caller }) {
        const { logs, successions } = await pools.use(caller, async (pool) => {
          const all = await logIdentity.all(pool, caller.tenant);
          return {
            logs: all,
            successions: await readSuccessions(
              pool,
              all.map(({ logId }) => logId),
            ),
          };
        });
        return reply(200, {
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
              custody: last?.custody ?? 1,
              succession: succession.map(({ epoch, signer, afterSeq, custody, handover }) => ({
                epoch,
                signer,
                afterSeq,
                custody,
                transaction: handover?.accepted.txHash ?? null,
              })),
              end,
            };
          }),
        });
      },
    }),
  ];
}
