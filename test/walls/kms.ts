/** What each KMS role may do with each kind of key, by the key policies and nothing else. */
import {
  CreateGrantCommand,
  CreateKeyCommand,
  DisableKeyCommand,
  GetKeyPolicyCommand,
  GetPublicKeyCommand,
  KMSServiceException,
  PutKeyPolicyCommand,
  ScheduleKeyDeletionCommand,
  SignCommand,
  type KMSClient,
} from '@aws-sdk/client-kms';
import { OPERATOR_ALIAS, RELAYER_ALIAS, tenantKeyAlias } from '../../activities/kms/keys.ts';
import { Refused, type Attempt, type Ground } from './attempt.ts';

type Role = Parameters<Ground['kms']>[0];
const FROM: Record<Role, string> = {
  signer: 'KMS signer',
  relayer: 'KMS relayer',
  admin: 'KMS admin',
  breakGlass: 'KMS break-glass',
};

function attempt(
  role: Role,
  may: boolean,
  act: string,
  send: (kms: KMSClient, ground: Ground) => Promise<unknown>,
): Attempt {
  return {
    wall: 4,
    from: FROM[role],
    act,
    may,
    async run(ground) {
      try {
        await send(ground.kms(role), ground);
      } catch (error) {
        if (error instanceof KMSServiceException && error.name === 'AccessDeniedException')
          throw new Refused(error.message, { cause: error });
        throw error;
      }
    },
  };
}

const digest = (KeyId: string): SignCommand =>
  new SignCommand({ KeyId, Message: new Uint8Array(32), MessageType: 'DIGEST', SigningAlgorithm: 'ECDSA_SHA_256' });
const message = (KeyId: string, SigningAlgorithm: 'ED25519_SHA_512' | 'ECDSA_SHA_256'): SignCommand =>
  new SignCommand({ KeyId, Message: new Uint8Array(5), MessageType: 'RAW', SigningAlgorithm });
const tenantKey = ({ tenant }: Ground): string => tenantKeyAlias(tenant.id);
const keyId = ({ local, tenant }: Ground): Promise<string> => local.keyId(tenant);

const ROLES = ['signer', 'relayer', 'admin', 'breakGlass'] as const;

export const kmsAttempts: readonly Attempt[] = [
  ...ROLES.flatMap((role) => [
    attempt(role, role === 'signer', 'sign a digest with a tenant’s key', (kms, ground) =>
      kms.send(digest(tenantKey(ground))),
    ),
    attempt(role, role === 'relayer', 'sign a digest with the relayer’s key', (kms) => kms.send(digest(RELAYER_ALIAS))),
    attempt(role, role === 'signer', 'sign a checkpoint with the operator’s key', (kms) =>
      kms.send(message(OPERATOR_ALIAS, 'ED25519_SHA_512')),
    ),
    attempt(role, false, 'sign a message of any length with a tenant’s key', async (kms, ground) =>
      kms.send(message(await keyId(ground), 'ECDSA_SHA_256')),
    ),
    attempt(role, false, 'make a grant on a tenant’s key', async (kms, ground) =>
      kms.send(
        new CreateGrantCommand({
          KeyId: await keyId(ground),
          GranteePrincipal: ground.local.stack.around.kms.roles.admin,
          Operations: ['Sign'],
        }),
      ),
    ),
  ]),
  ...(['signer', 'relayer', 'admin'] as const).map((role) =>
    attempt(role, false, 'replace a tenant key’s policy', async (kms, ground) =>
      kms.send(new PutKeyPolicyCommand({ KeyId: await keyId(ground), PolicyName: 'default', Policy: '{}' })),
    ),
  ),
  ...(['signer', 'relayer'] as const).flatMap((role) => [
    attempt(role, false, 'disable a tenant’s key', async (kms, ground) =>
      kms.send(new DisableKeyCommand({ KeyId: await keyId(ground) })),
    ),
    attempt(role, false, 'schedule a tenant key’s deletion', async (kms, ground) =>
      kms.send(new ScheduleKeyDeletionCommand({ KeyId: await keyId(ground), PendingWindowInDays: 7 })),
    ),
    attempt(role, false, 'make a key', (kms) =>
      kms.send(new CreateKeyCommand({ KeySpec: 'ECC_SECG_P256K1', KeyUsage: 'SIGN_VERIFY' })),
    ),
  ]),
  attempt('signer', true, 'read a tenant’s public key', (kms, ground) =>
    kms.send(new GetPublicKeyCommand({ KeyId: tenantKey(ground) })),
  ),
  attempt('relayer', false, 'read a tenant’s public key', (kms, ground) =>
    kms.send(new GetPublicKeyCommand({ KeyId: tenantKey(ground) })),
  ),
  attempt('admin', true, 'read a tenant key’s policy', async (kms, ground) =>
    kms.send(new GetKeyPolicyCommand({ KeyId: await keyId(ground), PolicyName: 'default' })),
  ),
];
