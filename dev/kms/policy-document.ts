import { z } from 'zod';
import { malformedPolicy } from './errors.ts';
import { isArnPattern } from './pattern.ts';
import { accountRootArn, isPrincipalArn } from './principal.ts';

/** What a condition may ask about, in lower case (IAM compares these names without regard to case). */
const conditionKeys = {
  'kms:signingalgorithm': 'string',
  'kms:messagetype': 'string',
  'kms:keyspec': 'string',
  'kms:keyusage': 'string',
  'kms:calleraccount': 'string',
  'kms:bypasspolicylockoutsafetycheck': 'boolean',
  'aws:principalarn': 'arn',
  'aws:principalaccount': 'string',
} as const;

export type ConditionKey = keyof typeof conditionKeys;
type ConditionTest = 'string' | 'like' | 'arn' | 'bool' | 'null';

export interface Condition {
  readonly test: ConditionTest;
  readonly negated: boolean;
  readonly ifExists: boolean;
  readonly key: ConditionKey;
  readonly values: readonly string[];
}

export interface Statement {
  readonly effect: 'Allow' | 'Deny';
  /** ARNs, or the single word `*`. Account numbers have become the account's root ARN. */
  readonly principals: readonly string[];
  readonly principalsNegated: boolean;
  readonly actions: readonly string[];
  readonly actionsNegated: boolean;
  readonly resources: readonly string[];
  readonly conditions: readonly Condition[];
}

const operators: Record<string, { test: ConditionTest; negated: boolean }> = {
  StringEquals: { test: 'string', negated: false },
  StringNotEquals: { test: 'string', negated: true },
  StringLike: { test: 'like', negated: false },
  StringNotLike: { test: 'like', negated: true },
  ArnEquals: { test: 'arn', negated: false },
  ArnLike: { test: 'arn', negated: false },
  ArnNotEquals: { test: 'arn', negated: true },
  ArnNotLike: { test: 'arn', negated: true },
  Bool: { test: 'bool', negated: false },
  Null: { test: 'null', negated: false },
};

const oneOrMany = z
  .union([z.string(), z.array(z.string()).min(1)])
  .transform((value) => (typeof value === 'string' ? [value] : value));

// Policy variables would need resolving; taken literally, a statement would silently mean something else.
const noVariables = (values: readonly string[]): boolean => values.every((value) => !value.includes('${'));

const actionList = oneOrMany.refine((actions) => actions.every((a) => a === '*' || /^kms:[A-Za-z*?]+$/i.test(a)), {
  message: 'actions must be "*" or begin with "kms:"',
});

const principalElement = z
  .union([z.literal('*').transform(() => ['*']), z.strictObject({ AWS: oneOrMany }).transform((p) => p.AWS)])
  .transform((names) => names.map((name) => (/^\d{12}$/.test(name) ? accountRootArn(name) : name)));

const scalar = z.union([z.string(), z.boolean(), z.number()]).transform(String);
const conditionBlock = z.record(
  z.string(),
  z.record(z.string(), z.union([scalar.transform((value) => [value]), z.array(scalar).min(1)])),
);

const statementSchema = z.strictObject({
  Sid: z.string().optional(),
  Effect: z.enum(['Allow', 'Deny']),
  Principal: principalElement.optional(),
  NotPrincipal: principalElement.optional(),
  Action: actionList.optional(),
  NotAction: actionList.optional(),
  Resource: oneOrMany.refine(
    (resources) => resources.every((r) => r === '*' || isArnPattern(r)) && noVariables(resources),
    {
      message: 'resources must be "*" or ARNs, without policy variables',
    },
  ),
  Condition: conditionBlock.optional(),
});

const documentSchema = z.strictObject({
  Version: z.enum(['2012-10-17', '2008-10-17']).optional(),
  Id: z.string().optional(),
  Statement: z.union([statementSchema.transform((one) => [one]), z.array(statementSchema).min(1)]),
});

function condition(operator: string, name: string, values: readonly string[]): Condition {
  const ifExists = operator.endsWith('IfExists');
  const known = operators[ifExists ? operator.slice(0, -'IfExists'.length) : operator];
  if (known === undefined || (ifExists && known.test === 'null')) {
    throw malformedPolicy(`Condition operator ${operator} is not supported.`);
  }
  const key = name.toLowerCase();
  if (!Object.hasOwn(conditionKeys, key)) throw malformedPolicy(`Condition key ${name} is not supported.`);
  const type = conditionKeys[key as ConditionKey];
  if (!noVariables(values)) throw malformedPolicy('Policy variables are not supported.');
  if ((known.test === 'bool') !== (type === 'boolean') && known.test !== 'null') {
    throw malformedPolicy(`Condition operator ${operator} does not fit condition key ${name}.`);
  }
  if (
    (known.test === 'bool' || known.test === 'null') &&
    values.some((value) => value !== 'true' && value !== 'false')
  ) {
    throw malformedPolicy(`Condition operator ${operator} takes true or false.`);
  }
  if (known.test === 'arn' && (type !== 'arn' || !values.every(isArnPattern))) {
    throw malformedPolicy(`Condition operator ${operator} needs ARNs.`);
  }
  return { ...known, ifExists, key: key as ConditionKey, values };
}

function statement(parsed: z.output<typeof statementSchema>): Statement {
  const principals = parsed.Principal ?? parsed.NotPrincipal;
  if (principals === undefined || (parsed.Principal !== undefined && parsed.NotPrincipal !== undefined)) {
    throw malformedPolicy('A statement needs exactly one of Principal and NotPrincipal.');
  }
  const actions = parsed.Action ?? parsed.NotAction;
  if (actions === undefined || (parsed.Action !== undefined && parsed.NotAction !== undefined)) {
    throw malformedPolicy('A statement needs exactly one of Action and NotAction.');
  }
  const principalsNegated = parsed.NotPrincipal !== undefined;
  // IAM reference, NotPrincipal: with Allow it is not supported.
  if (principalsNegated && parsed.Effect === 'Allow') throw malformedPolicy('NotPrincipal must be used with Deny.');
  if (!principals.every((name) => (name === '*' && !principalsNegated) || isPrincipalArn(name))) {
    throw malformedPolicy('Policy contains a statement with one or more invalid principals.');
  }
  return {
    effect: parsed.Effect,
    principals,
    principalsNegated,
    actions,
    actionsNegated: parsed.NotAction !== undefined,
    resources: parsed.Resource,
    conditions: Object.entries(parsed.Condition ?? {}).flatMap(([operator, block]) =>
      Object.entries(block).map(([key, values]) => condition(operator, key, values)),
    ),
  };
}

/**
 * Reads a key policy. Whatever it does not understand, it refuses (MalformedPolicyDocumentException): an element that is ignored would
 * make a policy look stronger here than it is at AWS, or weaker.
 */
export function parseKeyPolicy(text: string): readonly Statement[] {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch {
    throw malformedPolicy('The policy is not valid JSON.');
  }
  const document = documentSchema.safeParse(json);
  if (!document.success) throw malformedPolicy(z.prettifyError(document.error));
  return document.data.Statement.map(statement);
}
