/** What commands read from the environment: secrets, which must not stand on a command line. */

import { UsageError } from './command.ts';

/** Where the custody API is, and who asks it. */
export interface CustodyEnv {
  url: string;
  token: string | undefined;
  /** A command that prints a session token: tokens live a minute, and watching takes days. */
  tokenCommand: string | undefined;
}

/** @throws UsageError */
export function readCustodyEnv(source: NodeJS.ProcessEnv = process.env): CustodyEnv {
  const url = source['KIFF_CUSTODY_URL'] ?? 'https://custody.kiff.dev';
  if (!URL.canParse(url) || new URL(url).origin !== url) {
    throw new UsageError('KIFF_CUSTODY_URL must be an origin, for example https://custody.kiff.dev');
  }
  return { url, token: source['KIFF_SESSION_TOKEN'], tokenCommand: source['KIFF_SESSION_COMMAND'] };
}

/** The key that `kiff anchor` pays with, or the password of the file that holds it. */
export function readAnchorEnv(source: NodeJS.ProcessEnv = process.env): {
  key: string | undefined;
  password: string | undefined;
} {
  return { key: source['KIFF_ANCHOR_KEY'], password: source['KIFF_KEYSTORE_PASSWORD'] };
}

/**
 * The API key that `kiff export` reads a log with.
 * @throws UsageError without one
 */
export function readExportEnv(source: NodeJS.ProcessEnv = process.env): string {
  const key = source['KIFF_API_KEY'];
  if (key === undefined || !/^[!-~]{1,512}$/.test(key)) {
    throw new UsageError('set KIFF_API_KEY: an API key of the tenant, with the scope read');
  }
  return key;
}

/** The key of scope `read` that `kiff monitor` shows to a log which is not public; undefined without one. */
export function readMonitorEnv(source: NodeJS.ProcessEnv = process.env): { key: string | undefined } {
  return { key: source['KIFF_API_KEY'] };
}

/** The API key of scope `signer`, and the password of the keystore that signs. @throws UsageError without the key */
export function readSignerEnv(source: NodeJS.ProcessEnv = process.env): {
  apiKey: string;
  keystorePassword: string | undefined;
} {
  const apiKey = source['KIFF_API_KEY'];
  if (apiKey === undefined || !/^[!-~]{1,512}$/.test(apiKey)) {
    throw new UsageError('set KIFF_API_KEY: an API key of the tenant, with the scope signer');
  }
  return { apiKey, keystorePassword: source['KIFF_KEYSTORE_PASSWORD'] };
}
