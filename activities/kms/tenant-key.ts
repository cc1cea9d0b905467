/**
 * A tenant's own KMS key, in the tenant's own account (custody `tenant-kms`): whether it may become a log's signer. Its policy is
 * the tenant's business and cannot be read from here; what counts is what the key is, and whether KMS would let us sign with it
 * (docs/custody-tenant-kms.md).
 */
import { DescribeKeyCommand, KMSServiceException, SignCommand, type KMSClient } from '@aws-sdk/client-kms';
import type { Hex } from '../../protocol/hex.ts';
import { failure, failureType } from '../failures.ts';
import { keyAddress, translated } from './keys.ts';

/** Why a tenant's key is not taken. Fixed words: callers see them. */
export type KeyRefusal =
  | 'key-arn-malformed'
  | 'key-other-partition'
  | 'key-other-region'
  | 'key-own-account'
  | 'key-access-denied'
  | 'key-not-secp256k1'
  | 'key-not-for-signing'
  | 'key-disabled'
  | 'key-not-for-this-log';

/** Where we are: the role that signs, and the region that our KMS client talks to. */
export interface OwnPlace {
  signerArn: string;
  region: string;
}

const ARN = /^arn:(aws[a-z-]*):kms:([a-z0-9-]+):(\d{12}):key\/([A-Za-z0-9-]{1,128})$/;
const ROLE = /^arn:(aws[a-z-]*):iam::(\d{12}):/;

/** What can be said of an ARN without asking: null when it may be tried. Aliases are refused: what they name can change. */
function arnRefusal(arn: string, own: OwnPlace): KeyRefusal | null {
  const parts = ARN.exec(arn);
  const role = ROLE.exec(own.signerArn);
  if (parts === null || role === null) return 'key-arn-malformed';
  const [, partition, region, account] = parts;
  if (partition !== role[1]) return 'key-other-partition';
  // KMS endpoints are regional: another region's key is not known to ours.
  if (region !== own.region) return 'key-other-region';
  if (account === role[2]) return 'key-own-account';
  return null;
}

/**
 * Looks at a tenant's key: DescribeKey, GetPublicKey, and Sign as a dry run. Nothing is signed.
 * @param origin of the log; it must stand in the key's description. Else a tenant could name a key that another one keeps for
 *   its own log, which lets our role sign just as well.
 * @returns the key's address, or why it is not taken
 * @throws failure kms-unavailable
 */
export async function inspectTenantKey(
  kms: KMSClient,
  arn: string,
  origin: string,
  own: OwnPlace,
): Promise<{ address: Hex } | { refused: KeyRefusal }> {
  const refused = arnRefusal(arn, own);
  if (refused !== null) return { refused };
  try {
    const { KeyMetadata: key } = await translated(() => kms.send(new DescribeKeyCommand({ KeyId: arn })));
    if (key?.KeySpec !== 'ECC_SECG_P256K1') return { refused: 'key-not-secp256k1' };
    if (key.KeyUsage !== 'SIGN_VERIFY') return { refused: 'key-not-for-signing' };
    if (key.KeyState !== 'Enabled') return { refused: 'key-disabled' };
    if (!(key.Description ?? '').split(/\s+/).includes(origin)) return { refused: 'key-not-for-this-log' };
    const address = await keyAddress(kms, arn);
    await requireSignAllowed(kms, arn);
    return { address };
  } catch (error) {
    // Another account's key that is not there and one that is forbidden look the same from here.
    if (failureType(error) === 'kms-denied') return { refused: 'key-access-denied' };
    if (failureType(error) === 'kms-refused') return { refused: 'key-disabled' };
    throw error;
  }
}

/**
 * Asks KMS whether it would let us sign with a key, without signing.
 * @throws failure kms-denied, kms-refused, kms-unavailable
 */
export async function requireSignAllowed(kms: KMSClient, keyId: string): Promise<void> {
  const request = {
    KeyId: keyId,
    Message: new Uint8Array(32),
    MessageType: 'DIGEST',
    SigningAlgorithm: 'ECDSA_SHA_256',
    DryRun: true,
  } as const;
  const answer = await translated(async () => {
    try {
      return await kms.send(new SignCommand(request));
    } catch (error) {
      if (error instanceof KMSServiceException && error.name === 'DryRunOperationException') return null;
      throw error;
    }
  });
  // A dry run that signs is no dry run.
  if (answer !== null) throw failure('foreign-signature');
}
