/**
 * What a command asks for, in values that may enter a workflow: ids and hashes, checked here. The rest of a payload stays in
 * the database, where the activity that needs it reads it by the command's id.
 */
import { z } from 'zod';

/** A row of `kiff.commands`. Issuer and tenant come from the session that wrote it, kind and payload from whoever that was. */
export interface CommandRow {
  id: number;
  issuer: string;
  tenant: string | null;
  kind: string;
  payload: unknown;
}

/** What a workflow is started with; `kind` says which. */
export type Ask = z.output<(typeof ASKS)[keyof typeof ASKS]>;

/** Fixed words: they stand in `kiff.command_results` and are read by clients. */
export type Rejection = 'unknown-kind' | 'bad-payload';

const tenantId = z.string().regex(/^[a-z][a-z0-9]{2,23}$/);
/** The asker's own word for the answer (see the table); the inbox has no use for it. */
const ref = z
  .string()
  .regex(/^[A-Za-z0-9_-]{1,64}$/)
  .optional();

/** A migration is named by the `ref` of the command that asked for it. */
const migrationId = z.string().regex(/^[A-Za-z0-9_-]{16,64}$/);
/** Evidence: what else is in it (tokens, assertions) the signer reads from the row itself. */
const evidence = { tenantId, ref, token: z.string() };

/**
 * Kind → the payload. Which login may ask for it is said in the database, by `kiff.command_issuers`. Whose custody it is comes
 * from the session that wrote the row, never from the payload.
 */
const ASKS = {
  'tenant.onboard': z
    .strictObject({ tenantId, ref })
    .transform((payload) => ({ kind: 'tenant.onboard' as const, tenantId: payload.tenantId })),
  'custody.start': z
    .object({
      ...evidence,
      ref: migrationId,
      custody: z.union([z.literal(1), z.literal(2), z.literal(3)]),
      keyArn: z.string().max(2048).optional(),
      signer: z
        .string()
        .regex(/^0x[0-9a-f]{40}$/)
        .optional(),
    })
    .refine(({ custody, keyArn }) => (custody === 2) === (keyArn !== undefined))
    .refine(({ custody, signer }) => (custody === 3) === (signer !== undefined))
    .transform((payload) => ({
      kind: 'custody.start' as const,
      tenantId: payload.tenantId,
      migrationId: payload.ref,
      custody: payload.custody,
    })),
  'custody.passkey': z
    .object(evidence)
    .transform(({ tenantId: id }) => ({ kind: 'custody.passkey' as const, tenantId: id })),
  'custody.passkey.remove': z
    .object(evidence)
    .transform(({ tenantId: id }) => ({ kind: 'custody.passkey.remove' as const, tenantId: id })),
  'custody.contact': z
    .object(evidence)
    .transform(({ tenantId: id }) => ({ kind: 'custody.contact' as const, tenantId: id })),
  'custody.approve': z.object({ ...evidence, migration: migrationId }).transform(({ tenantId: id, migration }) => ({
    kind: 'custody.approve' as const,
    tenantId: id,
    migrationId: migration,
  })),
  // Whoever vetoes by a link of a notice has no session (issuer kiff_veto).
  'custody.veto': z
    .object({ ...evidence, token: z.string().optional(), migration: migrationId })
    .transform(({ tenantId: id, migration }) => ({
      kind: 'custody.veto' as const,
      tenantId: id,
      migrationId: migration,
    })),
  'custody.cancel': z.object({ ...evidence, migration: migrationId }).transform(({ tenantId: id, migration }) => ({
    kind: 'custody.cancel' as const,
    tenantId: id,
    migrationId: migration,
  })),
} as const;

/** Pure: the same row is judged the same, however often it comes. */
export function judgeCommand({ kind, payload, tenant }: CommandRow): { ask: Ask } | { rejected: Rejection } {
  if (!Object.hasOwn(ASKS, kind)) return { rejected: 'unknown-kind' };
  if (payload === null || typeof payload !== 'object') return { rejected: 'bad-payload' };
  const own = kind.startsWith('custody.') ? { tenantId: tenant } : {};
  const parsed = ASKS[kind as keyof typeof ASKS].safeParse({ ...payload, ...own });
  return parsed.success ? { ask: parsed.data } : { rejected: 'bad-payload' };
}
