/** Why a log is frozen or ended: one fixed vocabulary, for failures, for the directory and for signed statements. */

/**
 * Never renamed: these words stand in signed statements. All but the last two are found by a worker and freeze the log at
 * once; `clock-ahead` (the head is dated after what any clock says) and `signer-lost` are an operator's findings.
 */
export const END_REASONS = [
  'record-missing',
  'record-altered',
  'tile-altered',
  'seal-altered',
  'root-conflict',
  'seal-conflict',
  'statement-conflict',
  'not-an-extension',
  'database-behind',
  'chain-ahead',
  'chain-differs',
  'final-reorged',
  'clock-ahead',
  'signer-lost',
] as const;

export type EndReason = (typeof END_REASONS)[number];
