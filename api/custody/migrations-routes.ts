/** /v1/custody/migrations: asking for one, and how one goes. */
import { z } from 'zod';
import type { Registry } from '../../protocol/eip712.ts';
import { bearerOf } from '../access/bearer.ts';
import { operation, reply, type Operation } from '../http/operation.ts';
import { Problem } from '../http/problems.ts';
import { hex } from '../http/shapes.ts';
import type { Queryable, TenantPools } from '../http/tenant-pools.ts';
import { personOf } from './authenticate.ts';
import { left, LEFT } from './commands-routes.ts';
import { custodyName, custodyOf } from './custody-kinds.ts';
import { leaveEvidence, readCommands, refShape, stands } from './evidence.ts';
import { migrationShape, migrationView, requestedView, type MigrationView } from './migration-shape.ts';
import { readHandovers, readMigration, readMigrations, readSteps } from './migrations.ts';
import { conflict, failedCommand } from './refusals.ts';

/** Of one key, not of an alias: an alias can be pointed elsewhere. Region and account are judged by the signing plane. */
const keyArn = z
  .string()
  .max(256)
  .regex(
    /^arn:aws(?:-[a-z]+)*:kms:[a-z0-9-]{1,32}:\d{12}:key\/[A-Za-z0-9-]{1,64}$/,
    'must be the ARN of a KMS key: arn:aws:kms:<region>:<account>:key/<id>',
  );

const newMigration = z
  .strictObject({
    custody: custodyName.describe('Who is to hold the key'),
    keyArn: keyArn.optional().describe('Of tenant-kms: your key'),
    signer: hex(20).optional().describe('Of tenant-agent: the address of your signer’s key'),
    deleteOldKey: z.boolean().default(true).describe('Whether the old key is deleted in the end, if it was ours'),
  })
  .refine(({ custody, keyArn: arn }) => (custody === 'tenant-kms') === (arn !== undefined), {
    error: 'is needed for tenant-kms, and for nothing else',
    path: ['keyArn'],
  })
  .refine(({ custody, signer }) => (custody === 'tenant-agent') === (signer !== undefined), {
    error: 'is needed for tenant-agent, and for nothing else',
    path: ['signer'],
  })
  .meta({ id: 'NewCustodyMigration' });

export interface MigrationsDependencies {
  pools: TenantPools;
  registry: Registry;
}

export const ofMigration = z.object({ id: refShape.describe('As its start was answered') });

/** @throws Problem not-found; custody-refused or custody-conflict when it was asked for and never began */
async function viewOf(db: Queryable, registry: Registry, id: string): Promise<MigrationView> {
  const migration = await readMigration(db, id);
  if (migration === undefined) {
    const [start] = await readCommands(db, ['custody.start'], id);
    if (start === undefined) throw new Problem('not-found', 'There is no migration with this id.');
    if (!stands(start)) throw failedCommand(start.reason);
    return requestedView(start);
  }
  const steps = await readSteps(db, id);
  const handovers = await readHandovers(db, migration.logId);
  const approvals = await readCommands(db, ['custody.approve']);
  const { rows } = await db.query<{ certificate: Record<string, unknown> }>(
    'SELECT certificate FROM kiff.custody_certificates WHERE migration = $1',
    [id],
  );
  return migrationView(registry, {
    migration,
    steps,
    handover: handovers.findLast(({ migration: of }) => of === id),
    approvals: approvals.filter(({ payload }) => payload['migration'] === id),
    certificate: rows[0]?.certificate ?? null,
  });
}

export function migrationsOperations({ pools, registry }: MigrationsDependencies): Operation[] {
  return [
    operation({
      id: 'startMigration',
      method: 'post',
      path: '/v1/custody/migrations',
      tag: 'Migrations',
      summary: 'Begin to hand the log’s key over.',
      description:
        'Everything can be undone until the new key has accepted. Two different admins approve it with passkeys that they registered a day before. For tenant-agent your signer fetches what it is to sign from the ingest API (/v1/signer/requests).',
      access: { right: 'manage-custody' },
      body: { schema: newMigration, maxBytes: 4 * 1024 },
      answers: {
        202: {
          ...LEFT,
          schema: z
            .object({ ref: z.string(), result: z.string(), migration: z.string() })
            .meta({ id: 'CustodyMigrationAsked' }),
        },
      },
      problems: ['custody-refused', 'custody-conflict'],
      examples: {
        bodies: [
          {
            summary: 'To a key in your own AWS account',
            type: 'application/json',
            value: {
              custody: 'tenant-kms',
              keyArn: 'arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab',
            },
          },
          {
            summary: 'To a signer that you run yourself',
            type: 'application/json',
            value: { custody: 'tenant-agent', signer: '0x7e5f4552091a69125d5dfcb7b8c2659029395bdf' },
          },
        ],
      },
      async handle({ caller, body: { custody, keyArn: arn, signer, deleteOldKey }, request }) {
        const person = personOf(caller);
        const ref = await pools.use(person, async (db) => {
          const active = (await readMigrations(db)).find(({ endedAt }) => endedAt === null);
          if (active !== undefined) throw conflict('custody-active', `The migration ${active.id} is under way.`);
          return leaveEvidence(db, 'custody.start', {
            token: bearerOf(request.get('authorization')),
            custody: custodyOf(custody),
            ...(arn !== undefined && { keyArn: arn }),
            ...(signer !== undefined && { signer }),
            deleteOldKey,
          });
        });
        const answer = left(ref);
        return { ...answer, body: { ...answer.body, migration: `/v1/custody/migrations/${ref}` } };
      },
    }),

    operation({
      id: 'getMigration',
      method: 'get',
      path: '/v1/custody/migrations/{id}',
      tag: 'Migrations',
      summary: 'How a migration goes: each step with its state, time and proof, and what is to be signed.',
      access: { right: 'read-custody' },
      params: ofMigration,
      answers: { 200: { description: 'The migration.', schema: migrationShape } },
      problems: ['not-found', 'custody-refused', 'custody-conflict'],
      async handle({ caller, params: { id } }) {
        return reply(200, await pools.use(caller, (db) => viewOf(db, registry, id)));
      },
    }),
  ];
}
