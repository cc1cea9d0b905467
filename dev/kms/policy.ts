import { matchesAction, matchesArn, matchesPattern } from './pattern.ts';
import type { Condition, ConditionKey, Statement } from './policy-document.ts';
import type { Principal } from './principal.ts';

/** What a request says about itself; a key that is missing here is missing from the request. */
export type RequestContext = Partial<Record<ConditionKey, string>>;

export interface PolicyRequest {
  readonly caller: Principal;
  /** With its prefix: `kms:Sign`. */
  readonly action: string;
  /** The key's ARN. */
  readonly resource: string;
  readonly context: RequestContext;
}

/**
 * - `deny`: a statement denies; nothing can allow.
 * - `allow`: a statement names the caller (or everybody).
 * - `delegate`: a statement names the caller's account, which leaves the answer to that account's IAM policies.
 * - `silent`: no statement speaks of this request.
 */
export type PolicyOutcome = 'deny' | 'allow' | 'delegate' | 'silent';

function conditionHolds({ test, negated, ifExists, key, values }: Condition, context: RequestContext): boolean {
  const actual = context[key];
  if (test === 'null') return values.includes(String(actual === undefined));
  // Without the key a plain operator fails and a negated one holds (IAM reference, condition operators).
  if (actual === undefined) return ifExists || negated;
  const matches = values.some((value) => {
    switch (test) {
      case 'string':
      case 'bool':
        return value === actual;
      case 'like':
        return matchesPattern(value, actual);
      case 'arn':
        return matchesArn(value, actual);
    }
  });
  return matches !== negated;
}

function covers(statement: Statement, { action, resource, context }: PolicyRequest): boolean {
  return (
    statement.actions.some((pattern) => matchesAction(pattern, action)) !== statement.actionsNegated &&
    statement.resources.some((pattern) => pattern === '*' || matchesArn(pattern, resource)) &&
    statement.conditions.every((condition) => conditionHolds(condition, context))
  );
}

function namesCaller(statement: Statement, caller: Principal): boolean {
  return statement.principals.some((name) => name === '*' || caller.identities.includes(name));
}

function denies(statement: Statement, caller: Principal): boolean {
  if (statement.principalsNegated) {
    // AWS looks at the account first, then the role, then the session: an exception has to name each of them.
    return ![caller.accountArn, ...caller.identities].every((name) => statement.principals.includes(name));
  }
  return namesCaller(statement, caller) || statement.principals.includes(caller.accountArn);
}

/** What a key policy says about one request. Pure; the order of the statements does not matter. */
export function evaluateKeyPolicy(statements: readonly Statement[], request: PolicyRequest): PolicyOutcome {
  const { caller } = request;
  const relevant = statements.filter((statement) => covers(statement, request));
  if (relevant.some((statement) => statement.effect === 'Deny' && denies(statement, caller))) return 'deny';
  const allowing = relevant.filter((statement) => statement.effect === 'Allow');
  if (allowing.some((statement) => namesCaller(statement, caller))) return 'allow';
  return allowing.some((statement) => statement.principals.includes(caller.accountArn)) ? 'delegate' : 'silent';
}

/** Whether the caller's own identity policy (its list of actions) allows an action. */
export function identityAllows(caller: Principal, action: string): boolean {
  return caller.allow.some((pattern) => matchesAction(pattern, action));
}
