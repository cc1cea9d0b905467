/** Notes signed with the operator's Ed25519 key (C2SP signed-note), under a log's origin as the key's name. */
import type { KMSClient } from '@aws-sdk/client-kms';
import { utf8, type Hex } from '../../protocol/hex.ts';
import { signedNote, verifyNote } from '../../protocol/note.ts';
import { failure } from '../failures.ts';
import { ed25519PublicKey, OPERATOR_ALIAS, signMessage } from '../kms/keys.ts';

export type SignNote = (text: string, origin: string) => Promise<string>;

/**
 * @returns a function that signs a text; the key is asked for once
 * @throws (that function) failure foreign-signature when KMS answered with anything else than this key's signature
 */
export function createSignNote(kms: KMSClient): SignNote {
  let publicKey: Hex | undefined;
  return async (text, origin) => {
    publicKey ??= await ed25519PublicKey(kms, OPERATOR_ALIAS);
    const note = signedNote(text, origin, publicKey, await signMessage(kms, OPERATOR_ALIAS, utf8(text)));
    if (verifyNote(note, { origin, publicKey }) !== text) throw failure('foreign-signature');
    return note;
  };
}
