/** /v1/custody: who holds the key of the tenant's log, since when, and who held it before. */
import { z } from 'zod';
import { toHex, type Hex } from '../../protocol/hex.ts';
import { operation, reply, type Operation } from '../http/operation.ts';
import { ownSignerShape, readOwnSigner } from '../http/own-signer.ts';
import { Problem } from '../http/problems.ts';
import { count, dateTime, hex } from '../http/shapes.ts';
import type { Queryable, TenantPools } from '../http/tenant-pools.ts';
import { custodyName, MEANINGS, nameOf } from './custody-kinds.ts';
import { readHandovers, readMigrations, type Migration } from './migrations.ts';

const epochShape = z
  .object({
    epoch: count,
    custody: custodyName,
    signer: hex(20),
    since: dateTime.nullable().describe('When we cut over to it; null of one that we only saw on chain'),
    afterSeq: count.describe('Its seals begin behind this one'),
    handover: hex(32).nullable().describe('The handover’s hash; null of the first signer'),
    txHash: hex(32).nullable().describe('The acceptance’s transaction'),
  })
  .meta({ id: 'CustodyEpoch' });

const custodyShape = z
  .object({
    origin: z.string(),
    logId: hex(32),
    holder: z.object({
      custody: custodyName,
      meaning: z.string(),
      signer: hex(20),
      epoch: count,
      keyRef: z.string().nullable(),
      since: dateTime.nullable(),
    }),
    ownSigner: ownSignerShape
      .nullable()
      .describe('Of a tenant-agent, and while a migration to one asks for signatures: how far it is behind'),
    held: z.boolean().describe('Nothing new is signed while an acceptance is on its way'),
    epochs: z.array(epochShape).describe('Every signer that the log has had, the first one first'),
    migration: z.string().nullable().describe('The migration that is under way'),
    migrations: z.array(
      z
        .object({
          id: z.string(),
          state: z.enum(['active', 'completed', 'undone']),
          custody: custodyName,
          startedAt: dateTime,
          endedAt: dateTime.nullable(),
        })
        .meta({ id: 'CustodyMigrationBrief' }),
    ),
  })
  .meta({ id: 'Custody' });

interface LogRow {
  origin: string;
  log_id: Buffer;
  genesis_signer: Buffer;
  current_signer: Buffer | null;
  first_period: number | null;
  epoch: number;
  custody: number;
  key_ref: string | null;
  signer_since: Date | null;
  held_since: Date | null;
}

/** @throws Problem tenant-not-ready */
async function readLog(db: Queryable): Promise<LogRow> {
  const { rows } = await db.query<LogRow>('SELECT * FROM kiff.logs');
  if (rows[0] === undefined) throw new Problem('tenant-not-ready', 'This tenant has no log yet.', { retryAfter: 5 });
  return rows[0];
}

async function epochsOf(db: Queryable, log: LogRow): Promise<z.input<typeof epochShape>[]> {
  const handovers = await readHandovers(db, toHex(log.log_id));
  const cuts = await db.query<{ migration: string; at: Date }>(
    `SELECT migration, max(at) AS at FROM kiff.custody_steps WHERE step = 'cut-over' AND state = 'done' GROUP BY migration`,
  );
  const cutAt = new Map(cuts.rows.map(({ migration, at }) => [migration, at]));
  const first = {
    epoch: 0,
    // Every log begins with a key of ours.
    custody: nameOf(1),
    signer: toHex(log.genesis_signer),
    since: log.first_period === null ? null : new Date(log.first_period * 1000).toISOString(),
    afterSeq: 0,
    handover: null,
    txHash: null,
  };
  const later = handovers
    .filter(({ accepted }) => accepted?.level === 'final')
    .map(({ epochTo, custody, to, hash, accepted, acceptedSeq, migration }) => ({
      epoch: epochTo,
      custody: nameOf(custody),
      signer: to,
      since: sinceOf(log, epochTo, migration === null ? undefined : cutAt.get(migration)),
      afterSeq: acceptedSeq ?? 0,
      handover: hash,
      txHash: accepted?.txHash ?? null,
    }));
  return [first, ...later];
}

function sinceOf(log: LogRow, epoch: number, cut: Date | undefined): string | null {
  return (epoch === log.epoch ? log.signer_since : cut)?.toISOString() ?? null;
}

const briefOf = ({ id, outcome, custody, startedAt, endedAt }: Migration) => ({
  id,
  state: outcome ?? ('active' as const),
  custody: nameOf(custody),
  startedAt: startedAt.toISOString(),
  endedAt: endedAt?.toISOString() ?? null,
});

export function custodyOperations({ pools }: { pools: TenantPools }): Operation[] {
  return [
    operation({
      id: 'getCustody',
      method: 'get',
      path: '/v1/custody',
      tag: 'Custody',
      summary: 'Who holds the log’s key, since when, and who held it before.',
      description:
        'This is what we say. What the chain says is in its contract, and every receipt carries the handovers.',
      access: { right: 'read-custody' },
      answers: { 200: { description: 'The custody of the current log.', schema: custodyShape } },
      async handle({ caller }) {
        return pools.use(caller, async (db) => {
          const log = await readLog(db);
          const migrations = await readMigrations(db);
          const epochs = await epochsOf(db, log);
          const custody = nameOf(log.custody);
          const signer: Hex = toHex(log.current_signer ?? log.genesis_signer);
          return reply(200, {
            origin: log.origin,
            logId: toHex(log.log_id),
            holder: {
              custody,
              meaning: MEANINGS[custody],
              signer,
              epoch: log.epoch,
              keyRef: log.key_ref,
              since: log.epoch === 0 ? (epochs[0]?.since ?? null) : (log.signer_since?.toISOString() ?? null),
            },
            ownSigner: await readOwnSigner(db, log.custody),
            held: log.held_since !== null,
            epochs,
            migration: migrations.find(({ endedAt }) => endedAt === null)?.id ?? null,
            migrations: migrations.map(briefOf),
          });
        });
      },
    }),
  ];
}
