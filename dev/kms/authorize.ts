import { KmsError } from './errors.ts';
import { parseKeyPolicy } from './policy-document.ts';
import { evaluateKeyPolicy, identityAllows } from './policy.ts';
import type { RequestContext } from './policy.ts';
import type { Principal } from './principal.ts';
import { keyArn } from './store.ts';
import type { KmsKey } from './store.ts';

type Verdict = 'allowed' | 'denied' | 'no-resource-policy' | 'no-identity-policy';

function judge(caller: Principal, action: string, key: KmsKey, context: RequestContext): Verdict {
  const outcome = evaluateKeyPolicy(parseKeyPolicy(key.policy), {
    caller,
    action,
    resource: keyArn(key),
    context: {
      ...context,
      'kms:keyspec': key.spec,
      'kms:keyusage': key.usage,
      'kms:calleraccount': caller.accountId,
      'aws:principalarn': caller.principalArn,
      'aws:principalaccount': caller.accountId,
    },
  });
  if (outcome === 'deny') return 'denied';
  if (outcome === 'silent') return 'no-resource-policy';
  // Within the account the key policy alone can allow; from another account both sides must.
  if (outcome === 'allow' && caller.accountId === key.accountId) return 'allowed';
  return identityAllows(caller, action) ? 'allowed' : 'no-identity-policy';
}

/** Another account's key, missing or forbidden: AWS answers the same for both, so that nobody can probe for keys. */
export function foreignKeyDenied(caller: Principal, action: string): KmsError {
  return new KmsError(
    'AccessDeniedException',
    `User: ${caller.arn} is not authorized to perform: ${action} on this resource because the resource does not exist in this Region, ` +
      'no resource-based policies allow access, or a resource-based policy explicitly denies access',
  );
}

/** Throws AccessDeniedException unless the key's policy, and IAM where the policy leaves it to IAM, let the caller do this. */
export function authorizeOnKey(caller: Principal, action: string, key: KmsKey, context: RequestContext = {}): void {
  const verdict = judge(caller, action, key, context);
  if (verdict === 'allowed') return;
  if (caller.accountId !== key.accountId && verdict !== 'no-identity-policy') throw foreignKeyDenied(caller, action);
  const reason = {
    denied: 'with an explicit deny in a resource-based policy',
    'no-resource-policy': `because no resource-based policy allows the ${action} action`,
    'no-identity-policy': `because no identity-based policy allows the ${action} action`,
  }[verdict];
  throw new KmsError(
    'AccessDeniedException',
    `User: ${caller.arn} is not authorized to perform: ${action} on resource: ${keyArn(key)} ${reason}`,
  );
}

/** For what has no key policy (CreateKey, lists, aliases): IAM alone decides. */
export function authorizeByIdentity(caller: Principal, action: string, resource = '*'): void {
  if (identityAllows(caller, action)) return;
  throw new KmsError(
    'AccessDeniedException',
    `User: ${caller.arn} is not authorized to perform: ${action} on resource: ${resource} because no identity-based policy allows the ${action} action`,
  );
}

/** AWS's lockout check: would the caller still be able to change this key's policy afterwards? */
export function canStillPutKeyPolicy(caller: Principal, key: KmsKey): boolean {
  const context = { 'kms:bypasspolicylockoutsafetycheck': 'false' };
  return judge(caller, 'kms:PutKeyPolicy', key, context) === 'allowed';
}
