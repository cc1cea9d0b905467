/**
 * What a vendor's error was, for the log of the process: class and code, never the text, which may quote anything. The
 * failure that reaches a workflow says only what to do.
 */
import { channel } from 'node:diagnostics_channel';

export interface VendorError {
  vendor: 'chain' | 'kms';
  name: string;
  code: string;
  /** Which RPC endpoint of the configuration, counted from 1, where there are several. Never its URL, which may hold a key. */
  endpoint?: number;
}

const errors = channel('kiff:vendor-error');

/** Told by the edges that translate vendors' errors. */
export function tellVendorError(vendor: VendorError['vendor'], error: unknown, endpoint?: number): void {
  if (!errors.hasSubscribers) return;
  errors.publish({ vendor, ...classOf(error), ...(endpoint === undefined ? {} : { endpoint }) });
}

/** Hears of every vendor error of this process. */
export function onVendorError(listener: (error: VendorError) => void): void {
  errors.subscribe((message) => listener(message as VendorError));
}

/** The innermost cause that has a name of its own says most. */
function classOf(error: unknown): { name: string; code: string } {
  let name = 'unknown';
  let code = '';
  for (let cause = error, depth = 0; cause instanceof Error && depth < 10; cause = cause.cause, depth++) {
    if (cause.name !== 'Error') name = cause.name;
    if ('code' in cause && (typeof cause.code === 'string' || typeof cause.code === 'number'))
      code = String(cause.code);
  }
  return { name, code };
}
