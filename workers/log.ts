/** The workers' log: JSON lines, and alerts among them. No content, keys or tokens: only ids, numbers and hashes. */
import { pino, type Logger } from 'pino';
import type { Alert } from '../activities/failures.ts';
import { onVendorError } from '../activities/vendor-errors.ts';

export function createLog(name: string, level: string): Logger {
  const log = pino({ name, level, base: { name } });
  onVendorError((error) => log.warn(error, 'vendor error'));
  return log;
}

/** An alert is an error line whose `alert` is a stable name; alert rules match on that. */
export function createAlert(log: Logger): Alert {
  return (alert, fields) => log.error({ alert, ...fields }, `alert: ${alert}`);
}
