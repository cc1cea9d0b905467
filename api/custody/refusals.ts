/** How the custody API says no: a sentence for a person and a fixed word for a program. */
import { Problem } from '../http/problems.ts';

/** What was asked for is not good, and will not be. */
export function refused(reason: string, detail: string): Problem {
  return new Problem('custody-refused', detail, { extensions: { reason } });
}

/** It does not go together with what stands now. */
export function conflict(reason: string, detail: string): Problem {
  return new Problem('custody-conflict', detail, { extensions: { reason } });
}

/** Words of the signing plane for what stood in the way when it looked; every other word is a refusal. */
const CONFLICTS = new Set([
  'custody-active',
  'log-not-active',
  'migration-ended',
  'no-migration',
  'passkey-known-already',
  'signer-is-another-logs',
  'signer-was-used',
  'too-late',
]);

/** What became of a command that came to nothing. */
export function failedCommand(reason: string | null): Problem {
  const word = reason ?? 'failed';
  const detail = `The signing plane has refused it: ${word.replaceAll('-', ' ')}.`;
  return CONFLICTS.has(word) ? conflict(word, detail) : refused(word, detail);
}
