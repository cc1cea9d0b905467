/** What commands read from the environment: secrets, which must not stand on a command line. */
import { UsageError } from './command.ts';

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
