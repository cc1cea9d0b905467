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

/** Kind → the payload. Which login may ask for it is said in the database, by `kiff.command_issuers`. */
const ASKS = {
  'tenant.onboard': z
    .strictObject({ tenantId, ref })
    .transform((payload) => ({ kind: 'tenant.onboard' as const, tenantId: payload.tenantId })),
} as const;

/** Pure: the same row is judged the same, however often it comes. */
export function judgeCommand({ kind, payload }: CommandRow): { ask: Ask } | { rejected: Rejection } {
  if (!Object.hasOwn(ASKS, kind)) return { rejected: 'unknown-kind' };
  const parsed = ASKS[kind as keyof typeof ASKS].safeParse(payload);
  return parsed.success ? { ask: parsed.data } : { rejected: 'bad-payload' };
}
