/** A tenant's own KMS key, in the tenant's own account of the stand-in, with the policies of docs/custody-tenant-kms.md. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import {
  CreateKeyCommand,
  DisableKeyCommand,
  EnableKeyCommand,
  PutKeyPolicyCommand,
  type KeySpec,
  type KeyUsageType,
  type KMSClient,
} from '@aws-sdk/client-kms';
import { LOCAL_ROLES, TENANT_ACCOUNT } from '../dev/kms-roles.ts';
import { packageRoot } from '../dev/root.ts';

interface Statement {
  Sid: string;
}

/** The key policy as the page prints it, for these accounts. */
function keyPolicy(sids: (sid: string) => boolean): string {
  const page = readFileSync(join(packageRoot, 'docs/custody-tenant-kms.md'), 'utf8');
  const text = /<!-- key-policy\.json -->\s+```json\n([\s\S]*?)```/.exec(page)?.[1];
  if (text === undefined) throw new Error('docs/custody-tenant-kms.md has no key policy');
  const ours = text
    .replaceAll('111122223333', TENANT_ACCOUNT)
    .replaceAll('arn:aws:iam::444455556666:role/kiff-signer', LOCAL_ROLES.signer);
  const policy = JSON.parse(ours) as { Statement: Statement[] };
  return JSON.stringify({ ...policy, Statement: policy.Statement.filter(({ Sid }) => sids(Sid)) });
}

export interface TenantKey {
  arn: string;
  disable(): Promise<unknown>;
  enable(): Promise<unknown>;
  /** Takes our role out of the key policy. */
  revoke(): Promise<unknown>;
  /** Puts it back. */
  allow(): Promise<unknown>;
}

/**
 * @param owner KMS with the tenant's credentials
 * @param origin of the log that the key is for
 */
export async function createTenantKey(
  owner: KMSClient,
  origin: string,
  options: { spec?: KeySpec; usage?: KeyUsageType } = {},
): Promise<TenantKey> {
  const { KeyMetadata } = await owner.send(
    new CreateKeyCommand({
      KeySpec: options.spec ?? 'ECC_SECG_P256K1',
      KeyUsage: options.usage ?? 'SIGN_VERIFY',
      Description: `Seals the log ${origin}`,
      Policy: keyPolicy(() => true),
    }),
  );
  const arn = KeyMetadata!.Arn!;
  const put = (Policy: string) => owner.send(new PutKeyPolicyCommand({ KeyId: arn, PolicyName: 'default', Policy }));
  return {
    arn,
    disable: () => owner.send(new DisableKeyCommand({ KeyId: arn })),
    enable: () => owner.send(new EnableKeyCommand({ KeyId: arn })),
    revoke: () => put(keyPolicy((sid) => !sid.startsWith('Kiff'))),
    allow: () => put(keyPolicy(() => true)),
  };
}
