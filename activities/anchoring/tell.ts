/**
 * What the wallet did, as structured log lines with stable names. What must wake a person is an alert besides
 * (failures.ts); these are for whoever wants to know how a transaction got where it is.
 */
import type { Alert } from '../failures.ts';

const EVENTS = [
  /** A nonce was opened: its call is fixed. `kind`, `seals`, `gas`. */
  'tx.opened',
  /** Signed and stored, not yet sent. `hash` and both fees. */
  'tx.signed',
  /** As `tx.signed`, with higher fees than the one that it replaces. */
  'tx.bumped',
  /** A node took the bytes, for the first time or once more. */
  'tx.sent',
  /** No node said that it took them. They may be in a pool all the same. */
  'tx.unsure',
  /** In a block. `block`, `seals`, `cost`. */
  'tx.mined',
  /** In another block than before. */
  'tx.remined',
  /** In no block any more: the same bytes go out again. */
  'tx.reopened',
  /** A transaction of ours that the database had forgotten was found on chain and taken in. */
  'tx.adopted',
  /** Another run holds the wallet; this one waits. `run`. */
  'wallet.held',
  /** Somebody else anchored the seal first. `tenantId`, `seq`, `transaction`. */
  'seal.relayed',
  /** The contract does not take these yet: their logs rest. `logs`. */
  'seal.held-back',
  /** The chain says something new of a handover, whoever sent it. `fact`, `level`, `handover`, `tenantId`, `block`. */
  'handover.seen',
] as const;
type AnchoringEvent = (typeof EVENTS)[number];

export type Tell = (event: AnchoringEvent, fields: Readonly<Record<string, string | number>>) => void;

/** How often somebody is told of what goes on being wrong. */
const REPEAT_MS = 60 * 60 * 1000;

/**
 * Alerts about conditions, which every look finds again: told when they begin, and once an hour while they last. (A worker
 * that starts tells again.)
 */
export function createConditions(alert: Alert, now: () => number) {
  const told = new Map<string, number>();
  return {
    raise(name: Parameters<Alert>[0], fields: Parameters<Alert>[1]): void {
      const before = told.get(name);
      if (before !== undefined && now() - before < REPEAT_MS) return;
      told.set(name, now());
      alert(name, fields);
    },
    /** @returns whether it had been raised */
    clear(name: Parameters<Alert>[0]): boolean {
      return told.delete(name);
    },
  };
}

export type Conditions = ReturnType<typeof createConditions>;
