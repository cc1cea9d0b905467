/** The checks of a receipt, by name and in order (design section 8). Names are stable: policies and scripts use them. */

export const CHECK_NAMES = [
  'format',
  'policy',
  'commitment',
  'leaf',
  'period',
  'inclusion',
  'log id',
  'signature',
  'handovers',
  'anchor',
  'finality',
] as const;

export type CheckName = (typeof CHECK_NAMES)[number];

/**
 * `held`: proved. `failed`: disproved, or not proved although it had to be. `waived`: left out by somebody's decision,
 * named in the detail. `not-run`: could not be tried. Only `held` and `waived` let a receipt pass.
 */
export type CheckStatus = 'held' | 'failed' | 'waived' | 'not-run';

/** What became of a check; `detail` is a sentence for people. */
export interface Outcome {
  readonly status: CheckStatus;
  readonly detail: string;
}

/** One check of a report; a promise's checks have names of their own. */
export interface Check<Name extends string = CheckName> extends Outcome {
  readonly name: Name;
}

/** The outcome of a check that holds. */
export function held(detail: string): Outcome {
  return { status: 'held', detail };
}

/** Thrown inside a check that does not hold; the message is the check's detail. */
export class CheckFailed extends Error {
  constructor(detail: string) {
    super(detail);
    this.name = 'CheckFailed';
  }
}
