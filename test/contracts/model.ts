/** What SealRegistry is meant to do, in memory and without cryptography: a signature is who signed which statement. */
import type { Address, Hex } from 'viem';
import type { Outcome } from '../../contracts/registry.ts';
import {
  acceptHash,
  handoverHash,
  sealHash,
  zero,
  type Acceptance,
  type Handover,
  type Seal,
  type Step,
} from './statements.ts';

/** A statement under a signature, and whose. */
export interface Signed<Statement> {
  by: Address;
  statement: Statement;
}

/** One item of a batch: what is claimed (without `prev`), and what was really signed, by whom. */
export interface Item {
  claimed: Omit<Seal, 'prev'>;
  signed: Signed<Seal>;
}

export interface LogModel {
  signer: Address;
  epoch: number;
  seq: number;
  period: number;
  treeSize: number;
  head: Hex;
  pending: { hash: Hex; eta: number; expiresAt: number } | null;
}

export class RegistryModel {
  readonly logs = new Map<Hex, LogModel>();
  readonly cancelled = new Set<Hex>();
  readonly #periodSeconds: number;
  readonly #coolingOffSeconds: number;

  constructor(lengths: { periodSeconds: number; coolingOffSeconds: number }) {
    this.#periodSeconds = lengths.periodSeconds;
    this.#coolingOffSeconds = lengths.coolingOffSeconds;
  }

  register(logId: Hex, signer: Address): void {
    if (this.logs.has(logId)) return;
    this.logs.set(logId, { signer, epoch: 0, seq: 0, period: 0, treeSize: 0, head: zero, pending: null });
  }

  anchor(now: number, { claimed, signed }: Item): Outcome {
    const log = this.logs.get(claimed.logId);
    if (log === undefined) return 'UnknownLog';
    if (claimed.seq >= 1 && claimed.seq <= log.seq) return 'Stale';
    if (claimed.seq !== log.seq + 1) return 'Gap';
    if (claimed.period % this.#periodSeconds !== 0) return 'BadPeriod';
    if (log.seq > 0 && claimed.period !== log.period + this.#periodSeconds) return 'BadPeriod';
    if (now < claimed.period + this.#periodSeconds) return 'TooEarly';
    if (claimed.treeSize < log.treeSize) return 'BadTreeSize';
    const hash = sealHash({ ...claimed, prev: log.head });
    if (signed.by !== log.signer || sealHash(signed.statement) !== hash) return 'BadSignature';
    const { seq, period, treeSize } = claimed;
    Object.assign(log, { seq, period, treeSize, head: hash });
    return 'Sealed';
  }

  propose(now: number, handover: Handover, from: Signed<Handover>, to: Signed<Handover>): string | null {
    const next = this.#next(handover);
    if (typeof next === 'string') return next;
    const { log, hash } = next;
    if (handover.to === handover.from) return 'BadSuccessor';
    if (log.pending !== null && now <= log.pending.expiresAt) return 'AlreadyPending';
    const eta = Math.max(now + this.#coolingOffSeconds, Number(handover.notBefore));
    const expiresAt = Number(handover.expiresAt);
    if (eta >= expiresAt) return 'Expired';
    for (const [signed, account] of [
      [from, handover.from],
      [to, handover.to],
    ] as const) {
      if (signed.by !== account || handoverHash(signed.statement) !== hash) return invalid(account);
    }
    log.pending = { hash, eta, expiresAt };
    return null;
  }

  cancel(handover: Handover, signed: Signed<Step>): string | null {
    const next = this.#next(handover);
    if (typeof next === 'string') return next;
    const { log, hash } = next;
    const right = sameStep(signed.statement, { ...handover, handoverHash: hash });
    if (!right || (signed.by !== handover.from && signed.by !== handover.to)) return invalid(handover.from);
    this.cancelled.add(hash);
    if (log.pending?.hash === hash) log.pending = null;
    return null;
  }

  accept(now: number, handover: Handover, signed: Signed<Acceptance>): string | null {
    const next = this.#next(handover);
    if (typeof next === 'string') return next;
    const { log, hash } = next;
    if (log.pending?.hash !== hash) return 'NotPending';
    if (now < log.pending.eta) return 'TooSoon';
    if (now > log.pending.expiresAt) return 'Expired';
    const { logId, epochTo, to } = handover;
    const head = acceptHash({ logId, epochTo, handoverHash: hash, seq: log.seq, head: log.head });
    if (signed.by !== to || acceptHash(signed.statement) !== head) return invalid(to);
    Object.assign(log, { signer: to, epoch: epochTo, head, pending: null });
    return null;
  }

  #next(handover: Handover): string | { log: LogModel; hash: Hex } {
    const log = this.logs.get(handover.logId);
    if (log === undefined) return 'UnknownLogId';
    if (handover.epochTo !== log.epoch + 1) return 'NotNextEpoch';
    if (handover.from !== log.signer) return 'NotCurrentSigner';
    const hash = handoverHash(handover);
    return this.cancelled.has(hash) ? 'CancelledBefore' : { log, hash };
  }
}

function sameStep(a: Step, b: Step): boolean {
  return a.logId === b.logId && a.epochTo === b.epochTo && a.handoverHash === b.handoverHash;
}

function invalid(account: Address): string {
  return `InvalidSignature(${account.toLowerCase()})`;
}
