import { KmsError, notFound } from './errors.ts';
import { aliasArn, keyArn } from './store.ts';
import type { KmsKey, Store } from './store.ts';

/** What a `KeyId` can be: key id, key ARN, alias name, alias ARN. Names without an account are the caller's. */
export interface KeyReference {
  readonly kind: 'key' | 'alias';
  readonly accountId: string;
  readonly region: string;
  /** Where a key or alias so named would be in the store. */
  readonly arn: string;
}

const arnPattern = /^arn:aws:kms:([a-z0-9-]+):(\d{12}):(key\/([A-Za-z0-9-]+)|(alias\/[A-Za-z0-9/_-]+))$/;

/** Throws InvalidArnException or NotFoundException for what can name nothing, or nothing in this region. */
export function parseKeyReference(text: string, own: { accountId: string; region: string }): KeyReference {
  if (!text.startsWith('arn:')) {
    if (text.startsWith('alias/')) return { kind: 'alias', ...own, arn: aliasArn({ ...own, name: text }) };
    if (!/^[A-Za-z0-9-]+$/.test(text)) throw notFound(`Invalid keyId '${text}'`);
    return { kind: 'key', ...own, arn: keyArn({ ...own, keyId: text }) };
  }
  const match = arnPattern.exec(text);
  if (match === null) throw new KmsError('InvalidArnException', `Invalid arn ${text}`);
  const [, region, accountId, , keyId] = match as unknown as [string, string, string, string, string?];
  // Endpoints are regional: one region's endpoint knows nothing of another's keys.
  if (region !== own.region) throw notFound(`Invalid arn ${region}`);
  return { kind: keyId === undefined ? 'alias' : 'key', accountId, region, arn: text };
}

/** The key behind a reference, through its alias if it is one; undefined if there is none. */
export function lookUp(store: Store, reference: KeyReference): KmsKey | undefined {
  if (reference.kind === 'key') return store.keys.get(reference.arn);
  const alias = store.aliases.get(reference.arn);
  return alias === undefined ? undefined : store.keys.get(keyArn({ ...alias, keyId: alias.targetKeyId }));
}
