/** /v1/custody/contacts: who is told of every step that moves a key. Each admin has one, and all of them are told. */
import { randomBytes } from 'node:crypto';
import { z } from 'zod';
import { bearerOf } from '../access/bearer.ts';
import { operation, reply, type Operation } from '../http/operation.ts';
import { dateTime } from '../http/shapes.ts';
import type { Queryable, TenantPools } from '../http/tenant-pools.ts';
import { personOf } from './authenticate.ts';
import { left, LEFT, resultOf } from './commands-routes.ts';
import { leaveEvidence, readCommands } from './evidence.ts';

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

const contactShape = z
  .object({
    user: z.string().describe('Who has set it'),
    email: z.string().nullable(),
    webhook: z.string().nullable(),
  })
  .meta({ id: 'SecurityContact' });

const askedShape = contactShape
  .extend({ at: dateTime, result: z.string().describe('Where its answer will be') })
  .meta({ id: 'SecurityContactAskedFor' });

/** Who is told: what the signing plane has verified and kept, and nothing that was only asked for. */
async function readContacts(db: Queryable): Promise<z.input<typeof contactShape>[]> {
  const { rows } = await db.query<{ user: string; email: string | null; webhook: string | null }>(
    'SELECT user_id AS "user", email, webhook_url AS webhook FROM kiff.custody_contacts ORDER BY user_id',
  );
  return rows;
}

/** What nobody has looked at yet, oldest first. */
async function readAsked(db: Queryable): Promise<z.input<typeof askedShape>[]> {
  const commands = await readCommands(db, ['custody.contact']);
  return commands
    .filter(({ state }) => state === 'pending' || state === 'started')
    .map(({ by, payload, issuedAt, ref }) => {
      const { email, webhook } = payload as { email?: string; webhook?: { url: string } };
      return {
        user: by ?? '',
        email: email ?? null,
        webhook: webhook?.url ?? null,
        at: issuedAt.toISOString(),
        result: resultOf(ref),
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
        200: {
          description: 'Who is told now, and what was asked for that the signing plane has not verified yet.',
          schema: z.object({ contacts: z.array(contactShape), asked: z.array(askedShape) }),
        },
      },
      async handle({ caller }) {
        const answer = await pools.use(caller, async (db) => {
          const contacts = await readContacts(db);
          return { contacts, asked: await readAsked(db) };
        });
        return reply(200, answer);
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
