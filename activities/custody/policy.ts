/** How long a migration takes its time (design section 7): policy, fixed for each migration when it begins. */

/** Seconds, and one count. The contract's cooling-off is the contract's, and not here. */
export interface CustodyPolicy {
  /** From the request until the last approval. */
  approvals: number;
  /** Real seals that the new signer signs on trial. */
  trialSeals: number;
  /** From the handover's signing until the last second for its acceptance. */
  handoverExpiry: number;
  /** From the end of a migration until the replaced key of ours may be deleted. */
  observation: number;
  /** KMS's own, from the request until the key is gone: 7 to 30 whole days. */
  deletionWindow: number;
}

const HOUR = 3600;
const DAY = 24 * HOUR;

/** The period of production: where it is sealed every hour, nothing is shorter than this. */
const PRODUCTION_PERIOD = HOUR;

export const CUSTODY_DEFAULTS: CustodyPolicy = {
  approvals: 72 * HOUR,
  trialSeals: 2,
  handoverExpiry: 72 * HOUR,
  observation: 30 * DAY,
  deletionWindow: 30 * DAY,
};

/**
 * The policy of a deployment.
 * @param asked what its environment says
 * @param periodSeconds the contract's
 * @throws Error that names everything which is shorter than production allows
 */
export function custodyPolicy(asked: Partial<CustodyPolicy>, periodSeconds: number): CustodyPolicy {
  const policy = { ...CUSTODY_DEFAULTS, ...asked };
  const names = Object.keys(CUSTODY_DEFAULTS) as (keyof CustodyPolicy)[];
  const short = names.filter((name) => policy[name] < CUSTODY_DEFAULTS[name]);
  if (periodSeconds >= PRODUCTION_PERIOD && short.length > 0) {
    throw new Error(
      `custody is too hasty for periods of ${periodSeconds} s: ${short
        .map((name) => `${name} is ${policy[name]}, and at least ${CUSTODY_DEFAULTS[name]}`)
        .join('; ')}`,
    );
  }
  return policy;
}
