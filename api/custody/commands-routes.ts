/** /v1/custody/commands: what became of what was asked for. The signing plane looks at it after the answer has gone out. */
import { z } from 'zod';
import { operation, reply, type Operation } from '../http/operation.ts';
import { Problem } from '../http/problems.ts';
import { dateTime } from '../http/shapes.ts';
import type { TenantPools } from '../http/tenant-pools.ts';
import { readCommands, refShape, stands, type CustodyKind } from './evidence.ts';
import { failedCommand } from './refusals.ts';

const KINDS: CustodyKind[] = [
  'custody.passkey',
  'custody.passkey.remove',
  'custody.contact',
  'custody.start',
  'custody.approve',
  'custody.veto',
  'custody.cancel',
];

const commandShape = z
  .object({
    ref: z.string(),
    kind: z.enum(KINDS),
    state: z
      .enum(['pending', 'started', 'done'])
      .describe('pending: nobody has looked at it yet; started: it is being done; done: it was taken'),
    by: z.string().nullable().describe('Whose session asked'),
    at: dateTime,
    changedAt: dateTime,
  })
  .meta({ id: 'CustodyCommand' });

/** The answer to everything that is asked of the signing plane. */
export const LEFT = {
  description: 'It is left for the signing plane, which judges it by itself. Location says where its answer will be.',
  schema: z.object({ ref: z.string(), result: z.string() }).meta({ id: 'CustodyAsked' }),
  headers: { Location: 'Where the answer will be.' },
} as const;

export const resultOf = (ref: string): string => `/v1/custody/commands/${ref}`;

/** What every request answers whose row is left. */
export function left(ref: string) {
  const result = resultOf(ref);
  return reply(202, { ref, result }, { headers: { Location: result } });
}

export function commandsOperations({ pools }: { pools: TenantPools }): Operation[] {
  return [
    operation({
      id: 'getCustodyCommand',
      method: 'get',
      path: '/v1/custody/commands/{ref}',
      tag: 'Custody',
      summary: 'What became of something that was asked for.',
      description: 'What was refused by the signing plane answers as the problem that it is.',
      access: { right: 'read-custody' },
      params: z.object({ ref: refShape }),
      answers: { 200: { description: 'It stands.', schema: commandShape } },
      problems: ['not-found', 'custody-refused', 'custody-conflict'],
      async handle({ caller, params: { ref } }) {
        const [command] = await pools.use(caller, (db) => readCommands(db, KINDS, ref));
        if (command === undefined) throw new Problem('not-found', 'Nothing was asked for under this word.');
        if (!stands(command)) throw failedCommand(command.reason);
        const { kind, state, by, issuedAt, changedAt } = command;
        return reply(200, {
          ref,
          kind,
          state: state as 'pending' | 'started' | 'done',
          by,
          at: issuedAt.toISOString(),
          changedAt: changedAt.toISOString(),
        });
      },
    }),
  ];
}
