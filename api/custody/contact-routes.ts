/** /v1/custody/contacts: who is told of every step that moves a key. Each admin has one, and all of them are told. */
import { randomBytes } from 'node:crypto';
import { z } from 'zod';
import { bearerOf } from '../access/bearer.ts';
import { operation, reply, type Operation } from '../http/operation.ts';
import { dateTime } from '../http/shapes.ts';
import type { TenantPools } from '../http/tenant-pools.ts';
import { personOf } from './authenticate.ts';
import { left, LEFT } from './commands-routes.ts';
import { leaveEvidence, readCommands, stands, type CustodyCommand } from './evidence.ts';

const newContact = z
  .strictObject({
    email: z
      .string()
      .max(254)
      .regex(/^[^\s\p{Cc}<>@]{1,64}@[A-Za-z0-9.-]{1,190}$/u, 'must be a mail address')
      .optional(),
    webhook: z
      .string()
      .max(1_024)
      .refine((text) => URL.canParse(text) && new URL(text).protocol === 'https:' && new URL(text).username === '', {
        error: 'must be an https address',
      })
      .optional(),
  })
  .refine(({ email, webhook }) => email !== undefined || webhook !== undefined, { error: 'must name one way at least' })
  .meta({ id: 'NewSecurityContact' });

const contactView = z
  .object({
    user: z.string().describe('Who has set it'),
    email: z.string().nullable(),
    webhook: z.string().nullable(),
    at: dateTime,
    state: z.enum(['pending', 'started', 'done']).describe('done: the signing plane has verified who set it'),
  })
  .meta({ id: 'SecurityContact' });

function viewsOf(commands: readonly CustodyCommand[]): z.input<typeof contactView>[] {
  const newest = new Map(commands.filter(stands).map((command) => [command.by, command]));
  return [...newest.values()].map(({ by, payload, issuedAt, state }) => {
    const { email, webhook } = payload as { email?: string; webhook?: { url: string } };
    return {
      user: by ?? '',
      email: email ?? null,
      webhook: webhook?.url ?? null,
      at: issuedAt.toISOString(),
      state: state as 'pending' | 'started' | 'done',
    };
  });
}

export function contactOperations({ pools }: { pools: TenantPools }): Operation[] {
  return [
    operation({
      id: 'listSecurityContacts',
      method: 'get',
      path: '/v1/custody/contacts',
      tag: 'Custody',
      summary: 'Who is told when custody changes hands.',
      access: { right: 'read-custody' },
      answers: {
        200: { description: 'The newest of each admin.', schema: z.object({ contacts: z.array(contactView) }) },
      },
      async handle({ caller }) {
        const commands = await pools.use(caller, (db) => readCommands(db, ['custody.contact']));
        return reply(200, { contacts: viewsOf(commands) });
      },
    }),

    operation({
      id: 'setSecurityContact',
      method: 'put',
      path: '/v1/custody/contacts/mine',
      tag: 'Custody',
      summary: 'Say how you, or whom you name, are told.',
      description:
        'Notices go out at the start of a migration, at proposal, request for acceptance, acceptance, every cancellation and every new passkey. A webhook’s notices are signed with HMAC-SHA-256 under the secret in this answer, which is shown this once.',
      access: { right: 'manage-custody' },
      body: { schema: newContact, maxBytes: 4 * 1024 },
      answers: {
        202: {
          ...LEFT,
          schema: z
            .object({ ref: z.string(), result: z.string(), webhookSecret: z.string().optional() })
            .meta({ id: 'SecurityContactAsked' }),
        },
      },
      examples: {
        bodies: [
          {
            summary: 'Both ways',
            type: 'application/json',
            value: { email: 'security@example.com', webhook: 'https://example.com/kiff' },
          },
        ],
      },
      async handle({ caller, body: { email, webhook }, request }) {
        const person = personOf(caller);
        const secret = `whsec_${randomBytes(32).toString('base64')}`;
        const ref = await pools.use(person, (db) =>
          leaveEvidence(db, 'custody.contact', {
            token: bearerOf(request.get('authorization')),
            ...(email !== undefined && { email }),
            ...(webhook !== undefined && { webhook: { url: webhook, secret } }),
          }),
        );
        const answer = left(ref);
        return webhook === undefined ? answer : { ...answer, body: { ...answer.body, webhookSecret: secret } };
      },
    }),
  ];
}
