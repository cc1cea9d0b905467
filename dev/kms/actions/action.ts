import { z } from 'zod';
import { authorizeOnKey, foreignKeyDenied } from '../authorize.ts';
import { KmsError, notFound, validation } from '../errors.ts';
import type { FaultBoard } from '../faults.ts';
import type { RequestContext } from '../policy.ts';
import type { Principal } from '../principal.ts';
import { lookUp, parseKeyReference } from '../reference.ts';
import { keyArn } from '../store.ts';
import type { KmsKey, Store } from '../store.ts';

/** One authenticated request: who asks, where, when (milliseconds), and what there is. */
export interface Call {
  readonly caller: Principal;
  readonly region: string;
  readonly now: number;
  readonly store: Store;
  readonly faults: FaultBoard;
}

/** An action takes the request's JSON and gives the answer's; it throws KmsError, and runs without yielding, so that no two mix. */
export type Action = (input: unknown, call: Call) => object;

export const keyIdInput = z.string().min(1).max(2048);

/** Builds an action from the schema of its request. Members that the schema does not know are refused, not ignored. */
export function action<S extends z.ZodType>(schema: S, run: (input: z.output<S>, call: Call) => object): Action {
  return (input, call) => {
    const parsed = schema.safeParse(input);
    if (!parsed.success) {
      const { issues } = parsed.error;
      const list = issues.map((issue) => `'${issue.path.join('.')}': ${issue.message}`).join('; ');
      throw validation(`${issues.length} validation error${issues.length === 1 ? '' : 's'} detected: ${list}`);
    }
    return run(parsed.data, call);
  };
}

export interface KeyRules {
  /** Alias names and ARNs are accepted too. */
  readonly aliases?: boolean;
  /** May be called on another account's key (by ARN); AWS lists these actions one by one. */
  readonly crossAccount?: boolean;
  readonly context?: RequestContext;
}

/** The key that a request names, after its policy has let the caller do `name` (without prefix) on it. */
export function authorizedKey(call: Call, keyId: string, name: string, rules: KeyRules = {}): KmsKey {
  const { caller, region, store } = call;
  const reference = parseKeyReference(keyId, { accountId: caller.accountId, region });
  if (reference.kind === 'alias' && rules.aliases !== true) throw notFound(`Invalid keyId '${keyId}'`);
  const foreign = reference.accountId !== caller.accountId;
  const key = lookUp(store, reference);
  if (foreign && (key === undefined || rules.crossAccount !== true)) throw foreignKeyDenied(caller, `kms:${name}`);
  if (key === undefined) {
    throw notFound(
      reference.kind === 'alias' ? `Alias ${reference.arn} is not found.` : `Key '${reference.arn}' does not exist`,
    );
  }
  authorizeOnKey(caller, `kms:${name}`, key, rules.context);
  return key;
}

/** Key state table of the KMS developer guide: cryptographic use, and GetPublicKey, need an enabled key. */
export function requireEnabled(key: KmsKey): void {
  requireNotPendingDeletion(key);
  if (key.state === 'Disabled') throw new KmsError('DisabledException', `${keyArn(key)} is disabled.`);
}

export function requireNotPendingDeletion(key: KmsKey): void {
  if (key.state === 'PendingDeletion') {
    throw new KmsError('KMSInvalidStateException', `${keyArn(key)} is pending deletion.`);
  }
}
