/** What a verification proved and what it did not, in sentences for people (design section 8). */
import type { Check, CheckName } from './checks.ts';
import type { PolicyLog } from './policy.ts';
import type { Receipt } from './receipt.ts';
import type { CheckpointFinding } from './receipt-checks.ts';
import type { Block } from './rpc.ts';

/** What the checks learned beside their outcomes. */
export interface Evidence {
  readonly checkpoint?: CheckpointFinding;
  readonly anchorBlock?: Block;
  readonly periodLength?: number;
}

/** RFC 3339 to the second; plain seconds for times that no calendar holds. */
export function timeOf(unixSeconds: number): string {
  const date = new Date(unixSeconds * 1000);
  return Number.isNaN(date.getTime()) ? `Unix time ${unixSeconds}` : date.toISOString().replace('.000Z', 'Z');
}

/** Whether the policy bounds the seal's epoch from above, so that its signer was the current one at this seq. */
function policyBoundsEpoch(receipt: Receipt, log: PolicyLog | undefined): boolean {
  const { epoch, seq } = receipt.seal;
  return (log?.succession ?? []).some((entry) => entry.epoch > epoch && seq <= entry.afterSeq);
}

function holder(checks: readonly Check[]): (...names: CheckName[]) => boolean {
  return (...names) => names.every((name) => checks.some((check) => check.name === name && check.status === 'held'));
}

/** Sentences that the checks which held stand for; each needs all of its checks. */
export function provedBy(
  checks: readonly Check[],
  receipt: Receipt,
  log: PolicyLog | undefined,
  evidence: Evidence,
): string[] {
  const held = holder(checks);
  const { seal, origin, leafIndex, registry, anchor } = receipt;
  const proved: string[] = [];
  if (held('format', 'leaf', 'inclusion', 'log id', 'signature', 'handovers')) {
    proved.push(
      `The entry is leaf ${leafIndex} of ${seal.treeSize} in seal ${seal.seq} of ${origin}, signed by ${seal.signer}.`,
    );
  }
  if (held('commitment', 'leaf'))
    proved.push('The disclosed record is, byte for byte, the one that the entry commits to.');
  if (held('policy')) proved.push('The log and its contract are the ones that the policy names.');
  if (held('leaf', 'period', 'signature')) {
    const begin = timeOf(seal.period);
    proved.push(
      evidence.periodLength === undefined
        ? `The entry's time lies within an hour from ${begin}, where the sealed period begins.`
        : `The entry's time lies in the sealed period, from ${begin} to before ${timeOf(seal.period + evidence.periodLength)}.`,
    );
  }
  if (held('signature') && evidence.checkpoint === 'verified') {
    proved.push('The operator signed the same size and root (checkpoint).');
  }
  if (held('signature', 'handovers', 'anchor') && evidence.anchorBlock !== undefined) {
    const finality = held('finality') ? 'which is final' : 'which was not shown to be final';
    proved.push(
      `The contract ${registry.contract} on chain ${registry.chainId} accepted the seal from the log's signer in block ` +
        `${anchor.blockNumber} (${timeOf(evidence.anchorBlock.timestamp)}), ${finality}.`,
    );
  } else if (held('signature', 'handovers', 'policy') && policyBoundsEpoch(receipt, log)) {
    proved.push(`By the policy's succession ${seal.signer} was the log's signer at seal ${seal.seq}.`);
  }
  return proved;
}

/** What stays open, first what no receipt can prove. */
export function notProvedBy(
  checks: readonly Check[],
  receipt: Receipt,
  log: PolicyLog | undefined,
  evidence: Evidence,
): string[] {
  const held = holder(checks);
  const { seal } = receipt;
  const open = [
    "That the record's content is true.",
    'That the agent posted everything that it did.',
    "That the record was received at the very time the entry says: the time is the operator's word, and the seal bounds it.",
  ];
  if (!held('policy')) open.push('That this log is the one of the organisation that its origin names.');
  if (!held('commitment')) open.push('What the record says: nothing that the entry commits to was verified.');
  if (!held('anchor')) {
    open.push('That the seal stands on chain, and since when it existed.');
    if (!held('policy') || !policyBoundsEpoch(receipt, log)) {
      open.push(
        `That ${seal.signer} was the log's signer at seal ${seal.seq}, not only once: the chain or a policy's succession shows it.`,
      );
    }
  }
  if (!held('finality')) open.push('That the seal can no longer be reorganised away.');
  if (held('period') && evidence.periodLength === undefined) {
    open.push("The log's exact period length: neither a policy nor the contract was asked.");
  }
  if (evidence.checkpoint === 'key-unknown') {
    open.push("The operator's signature on the checkpoint: no checkpoint key is known.");
  }
  if (receipt.handovers.length > 0) open.push("Who holds the signing keys: custody is the signers' own claim.");
  return open;
}
