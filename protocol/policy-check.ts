/** The check `policy`: whether this is a log that the verifier knows, with the signers that it knows. */
import { CheckFailed, held, type Outcome } from './checks.ts';
import { isPeriodStart } from './period.ts';
import type { Policy, PolicyLog, SuccessionEntry } from './policy.ts';
import type { AnchoredHandover, Receipt, SignedSeal } from './receipt.ts';

/** The policy's entry for the receipt's log, if it lists that log. */
export function policyLogOf(
  policy: Policy | null,
  receipt: Pick<Receipt, 'origin' | 'genesisSigner'>,
): PolicyLog | undefined {
  return policy?.logs.find((log) => log.origin === receipt.origin && log.genesisSigner === receipt.genesisSigner);
}

/** What of a receipt, or of a seal in a bundle, a policy judges. */
export type JudgedByPolicy = Pick<Receipt, 'registry' | 'origin' | 'genesisSigner'> & {
  readonly seal: Pick<SignedSeal, 'seq' | 'period' | 'epoch' | 'signer'>;
  readonly handovers: readonly Pick<AnchoredHandover, 'handover' | 'accept'>[];
};

/** Holds the receipt's signers against the policy's. Epochs that the policy does not list are not judged. */
function checkSuccession(
  { seal, genesisSigner, handovers }: JudgedByPolicy,
  succession: readonly SuccessionEntry[],
): void {
  for (const { epoch, signer, afterSeq } of succession) {
    if (epoch > seal.epoch) {
      if (seal.seq <= afterSeq) continue;
      throw new CheckFailed(
        `by the policy epoch ${epoch} began after seq ${afterSeq}, so seal ${seal.seq} cannot be of epoch ${seal.epoch}`,
      );
    }
    const handover = handovers[epoch - 1];
    const receiptSigner = epoch === seal.epoch ? seal.signer : epoch === 0 ? genesisSigner : handover?.handover.to;
    if (receiptSigner !== signer) {
      throw new CheckFailed(
        `by the policy the signer of epoch ${epoch} is ${signer}, not ${receiptSigner ?? 'missing'}`,
      );
    }
    if (seal.seq <= afterSeq || (handover !== undefined && handover.accept.seq !== afterSeq)) {
      throw new CheckFailed(`by the policy epoch ${epoch} began after seq ${afterSeq}; the receipt contradicts that`);
    }
  }
}

/** Whether the policy knows this registry and this log, and agrees with what the receipt says of its signers. */
export function checkPolicy(receipt: JudgedByPolicy, policy: Policy): Outcome {
  const { registry, origin, genesisSigner } = receipt;
  if (registry.chainId !== policy.registry.chainId) {
    throw new CheckFailed(
      `the receipt is of chain ${registry.chainId}, the policy of chain ${policy.registry.chainId}`,
    );
  }
  if (registry.contract !== policy.registry.contract) {
    throw new CheckFailed(
      `the receipt's contract ${registry.contract} is not the policy's ${policy.registry.contract}`,
    );
  }
  const log = policyLogOf(policy, receipt);
  if (log === undefined) {
    const known = policy.logs.some((item) => item.origin === origin);
    throw new CheckFailed(
      known
        ? `the policy knows ${origin} with another genesis signer than ${genesisSigner}: this is somebody else's log`
        : `the policy does not know the log ${origin}`,
    );
  }
  if (!isPeriodStart(receipt.seal.period, policy.registry.periodSeconds)) {
    throw new CheckFailed(`period ${receipt.seal.period} is no multiple of ${policy.registry.periodSeconds} seconds`);
  }
  checkSuccession(receipt, log.succession ?? []);
  return held(`the policy knows ${origin} with genesis signer ${genesisSigner} at ${registry.contract}`);
}
