/**
 * What a person asks for or proves, left for the signing plane as it came: a row of kiff.commands with the session token of this
 * moment. What is judged before is judged for the caller's sake; the signing plane judges all of it again, by the time that
 * the database wrote beside it, and believes nobody here.
 */
import { randomBytes } from 'node:crypto';
import { z } from 'zod';
import type { UserCaller } from '../access/caller.ts';
import type { Queryable } from '../http/tenant-pools.ts';

export type CustodyKind =
  | 'custody.passkey'
  | 'custody.passkey.remove'
  | 'custody.contact'
  | 'custody.start'
  | 'custody.approve'
  | 'custody.veto'
  | 'custody.cancel';

/** A command as its asker finds it again. `by` is whom its token names. */
export interface CustodyCommand {
  ref: string;
  kind: CustodyKind;
  payload: Record<string, unknown>;
  by: string | null;
  issuedAt: Date;
  state: 'pending' | 'started' | 'done' | 'failed' | 'rejected';
  /** A fixed word; of those that failed or were rejected. */
  reason: string | null;
  changedAt: Date;
}

/** Its form is that of a migration's id too: the start's ref becomes one. */
export const refShape = z.string().regex(/^[A-Za-z0-9_-]{16,64}$/, 'must be the word that a request was answered with');

/**
 * @param db the tenant's custody login
 * @returns the word under which the answer will be found
 */
export async function leaveEvidence(
  db: Queryable,
  kind: CustodyKind,
  payload: Record<string, unknown>,
): Promise<string> {
  // Hex: it is typed behind `kiff custody watch`, where a word with a hyphen in front would be an option.
  const ref = randomBytes(16).toString('hex');
  await db.query('INSERT INTO kiff.commands (kind, payload) VALUES ($1, $2)', [kind, { ref, ...payload }]);
  return ref;
}

interface CommandRow {
  ref: string;
  kind: CustodyKind;
  payload: Record<string, unknown>;
  by_user: string | null;
  issued_at: Date;
  state: CustodyCommand['state'];
  reason: string | null;
  changed_at: Date;
}

/** The tenant's own commands of these kinds, oldest first; with `ref` that one. Tokens and secrets are not among them. */
export async function readCommands(
  db: Queryable,
  kinds: readonly CustodyKind[],
  ref: string | null = null,
): Promise<CustodyCommand[]> {
  const { rows } = await db.query<CommandRow>('SELECT * FROM kiff.own_custody_commands($1, $2)', [kinds, ref]);
  return rows.map(({ by_user, issued_at, changed_at, ...row }) => ({
    ...row,
    by: by_user,
    issuedAt: issued_at,
    changedAt: changed_at,
  }));
}

/** Whether it may still come to something. */
export function stands({ state }: CustodyCommand): boolean {
  return state !== 'failed' && state !== 'rejected';
}

/** One person's commands. */
export function ownOf(caller: UserCaller): (command: CustodyCommand) => boolean {
  return ({ by }) => by === caller.userId;
}
