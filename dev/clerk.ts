/**
 * The local stand-in for Clerk is a key: the API verifies session tokens with its public half, and `kiff dev-token` signs
 * them with the private one. It lies in the state folder and nowhere else.
 */
import { createPublicKey, generateKeyPairSync } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** The origin that local tokens are issued to, where a console in development would be served. */
export const LOCAL_PARTY = 'http://localhost:3000';

/** Makes the key at the first call. @returns its public half as PEM */
export function localJwtKey(state: string): string {
  const file = join(state, 'clerk.pem');
  if (!existsSync(file)) {
    mkdirSync(state, { recursive: true });
    const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
    writeFileSync(`${file}.new`, privateKey.export({ type: 'pkcs8', format: 'pem' }), { mode: 0o600 });
    renameSync(`${file}.new`, file);
  }
  return createPublicKey(readFileSync(file, 'utf8')).export({ type: 'spki', format: 'pem' }).toString();
}

/** The organisation of a local tenant: an organisation is a tenant. */
export function localOrganisation(tenant: string): string {
  return `org_${tenant}`;
}
