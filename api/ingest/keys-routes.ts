/** /v1/keys: API keys. People make and revoke them; keys with the scope `read` may list them, as KIFF's own CLI does. */
import { z } from 'zod';
import { rfc3339Millis } from '../../protocol/rfc3339.ts';
import { operation, reply, type Operation } from '../http/operation.ts';
import { dateTime } from '../http/shapes.ts';
import type { TenantPools } from '../http/tenant-pools.ts';
import { listKeys, makeKey, revokeKey, type ListedKey } from './keys.ts';
import type { Refusals } from './refusals.ts';

const MAX_BODY_BYTES = 16 * 1024;

const scope = z.enum(['ingest', 'read', 'signer']);

function newKeyShape(now: () => number) {
  return z
    .strictObject({
      label: z
        .string()
        .regex(/^[^\p{Cc}]{1,100}$/u, 'must be 1 to 100 characters without control characters')
        .describe('For people: what the key is for'),
      scopes: z
        .array(scope)
        .min(1)
        .max(2)
        .refine((scopes) => new Set(scopes).size === scopes.length, 'must not repeat a scope')
        .refine((scopes) => scopes.length === 1 || !scopes.includes('signer'), 'must be signer alone, or without it')
        .default(['ingest', 'read']),
      // A key that is dead when it is made is a mistake of whoever asks for it.
      expires_at: dateTime
        .refine((text) => (rfc3339Millis(text) ?? 0) > now(), 'must be in the future')
        .nullable()
        .default(null),
    })
    .meta({ id: 'NewKey' });
}

const keyView = z
  .object({
    id: z.string().describe('Stands in the entries of the records that the key posted'),
    label: z.string(),
    roles: z.array(scope).describe('The scopes, by the name that KIFF’s clients read'),
    scopes: z.array(scope),
    created_at: dateTime,
    created_by: z.string().describe('A user’s id, or operator'),
    expires_at: dateTime.nullable(),
    last_used_at: dateTime.nullable().describe('To within a minute'),
  })
  .meta({ id: 'Key', description: 'An API key that is not revoked, without its secret.' });

export interface KeysDependencies {
  pools: TenantPools;
  refusals: Refusals;
  /** Unix milliseconds. */
  now: () => number;
}

export function keysOperations({ pools, refusals, now }: KeysDependencies): Operation[] {
  return [
    operation({
      id: 'listKeys',
      method: 'get',
      path: '/v1/keys',
      tag: 'Keys',
      summary: 'The API keys that are not revoked, the oldest first.',
      access: { right: 'list-keys' },
      answers: {
        200: { description: 'All of them; there are 100 at most.', schema: z.object({ keys: z.array(keyView) }) },
      },
      async handle({ caller }) {
        const keys = await pools.use(caller, (pool) => listKeys(pool, caller.tenant));
        return reply(200, { keys: keys.map(viewOf) });
      },
    }),

    operation({
      id: 'createKey',
      method: 'post',
      path: '/v1/keys',
      tag: 'Keys',
      summary: 'Make an API key.',
      description:
        'The answer is the only one that ever holds the key: it is kept as a hash. Several keys may live at once, so that one can take over from another; what is not needed any more is revoked.',
      access: { right: 'manage-keys' },
      body: { schema: newKeyShape(now), maxBytes: MAX_BODY_BYTES },
      answers: {
        201: {
          description: 'The key, once.',
          schema: keyView.extend({ key: z.string().describe('kiff_live_<tenant>_<random>') }).meta({ id: 'MadeKey' }),
        },
      },
      problems: ['too-many-keys'],
      examples: {
        bodies: [
          { summary: 'A key that posts and reads', type: 'application/json', value: { label: 'billing agent' } },
          {
            summary: 'A key for your own signer, which can do nothing else',
            type: 'application/json',
            value: { label: 'our signer', scopes: ['signer'] },
          },
          {
            summary: 'A key that reads, for some time',
            type: 'application/json',
            value: { label: 'auditors', scopes: ['read'], expires_at: '2099-12-31T23:59:59Z' },
          },
        ],
      },
      async handle({ caller, body: { label, scopes, expires_at } }) {
        const expiresAt = expires_at === null ? null : new Date(rfc3339Millis(expires_at) ?? Number.NaN);
        const terms = { label, scopes, expiresAt };
        const { key, ...made } = await pools.use(caller, (pool) => makeKey(pool, caller.tenant, terms, caller.by));
        return reply(201, { ...viewOf({ ...made, ...terms, createdBy: caller.by, lastUsedAt: null }), key });
      },
    }),

    operation({
      id: 'revokeKey',
      method: 'delete',
      path: '/v1/keys/{id}',
      tag: 'Keys',
      summary: 'Revoke an API key, for good.',
      description: 'It counts within 5 seconds everywhere. Revoking again answers the same.',
      access: { right: 'manage-keys' },
      params: z.object({ id: z.string() }),
      answers: {
        200: {
          description: 'It is revoked.',
          schema: z.object({ id: z.string(), revoked_at: dateTime }).meta({ id: 'RevokedKey' }),
        },
      },
      problems: ['not-found'],
      examples: { params: { id: 'k0123456789abcde' } },
      async handle({ caller, params: { id } }) {
        const revokedAt = await pools.use(caller, (pool) => revokeKey(pool, caller.tenant, id, caller.by));
        if (revokedAt === null) throw await refusals.notFound(caller, 'key', id);
        return reply(200, { id, revoked_at: revokedAt.toISOString() });
      },
    }),
  ];
}

function viewOf(key: ListedKey): z.input<typeof keyView> {
  const scopes = key.scopes as z.output<typeof scope>[];
  return {
    id: key.id,
    label: key.label,
    roles: scopes,
    scopes,
    created_at: key.createdAt.toISOString(),
    created_by: key.createdBy,
    expires_at: key.expiresAt?.toISOString() ?? null,
    last_used_at: key.lastUsedAt?.toISOString() ?? null,
  };
}
