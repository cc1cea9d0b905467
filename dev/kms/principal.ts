import { z } from 'zod';

const accountRoot = /^arn:aws:iam::(\d{12}):root$/;
const userOrRole = /^arn:aws:iam::(\d{12}):(?:user|role)\/[\w+=,.@/-]{1,512}$/;
const roleSession = /^arn:aws:sts::(\d{12}):assumed-role\/([\w+=,.@-]{1,64})\/[\w+=,.@-]{2,64}$/;

/** Whether a text is an ARN that can name a caller: account root, user, role or role session. Wildcards are none. */
export function isPrincipalArn(arn: string): boolean {
  return accountRoot.test(arn) || userOrRole.test(arn) || roleSession.test(arn);
}

export function accountRootArn(accountId: string): string {
  return `arn:aws:iam::${accountId}:root`;
}

/**
 * Who holds which access key: access key id → credential and identity. `allow` is the identity (IAM) policy, cut down to a list of
 * allowed actions on all resources (`kms:CreateKey`, `kms:List*`); without it the caller has none. An account's root user may do everything
 * in its own account as far as IAM is concerned. Several access keys may share one ARN.
 */
export const principalsSchema = z.record(
  z.string().regex(/^[A-Za-z0-9_]{4,128}$/, 'is not an access key id'),
  z.strictObject({
    secretAccessKey: z.string().min(1),
    sessionToken: z.string().min(1).optional(),
    arn: z.string().refine(isPrincipalArn, 'is not the ARN of an account root, user, role or role session'),
    allow: z.array(z.string().regex(/^(\*|kms:[A-Za-z*?]+)$/, 'is not a kms: action or pattern')).optional(),
  }),
);

export type Principals = z.input<typeof principalsSchema>;
export type PrincipalConfig = Principals[string];

/** A caller as the policies see it. */
export interface Principal {
  readonly arn: string;
  readonly accountId: string;
  /** What `aws:PrincipalArn` says: for a role session, the role. A session's ARN has lost the role's path, and so has this. */
  readonly principalArn: string;
  /** Every ARN under which a `Principal` element can name this caller itself (the account's root is not among them, unless it is the caller). */
  readonly identities: readonly string[];
  readonly accountArn: string;
  readonly allow: readonly string[];
}

/** The caller behind a credential. Throws TypeError on an ARN that {@link isPrincipalArn} refuses. */
export function principalOf(config: PrincipalConfig): Principal {
  const { arn } = config;
  const session = roleSession.exec(arn);
  const accountId = session?.[1] ?? accountRoot.exec(arn)?.[1] ?? userOrRole.exec(arn)?.[1];
  if (accountId === undefined) throw new TypeError(`not a principal's ARN: ${arn}`);
  const principalArn = session === null ? arn : `arn:aws:iam::${accountId}:role/${session[2]}`;
  return {
    arn,
    accountId,
    principalArn,
    identities: session === null ? [arn] : [arn, principalArn],
    accountArn: accountRootArn(accountId),
    allow: accountRoot.test(arn) ? ['kms:*'] : (config.allow ?? []),
  };
}
