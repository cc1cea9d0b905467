/** What the tests of the offline checks share. */
import type { PrivateKeyAccount } from 'viem';
import assert from 'node:assert/strict';
import type { CheckName } from '../../protocol/checks.ts';
import type { Policy } from '../../protocol/policy.ts';
import type { Receipt } from '../../protocol/receipt.ts';
import { verifyReceipt, type Verification } from '../../protocol/verify.ts';
import { edited, makePolicy, named, PERIOD, signed, type Mutable } from './receipt-factory.ts';
export const OFFLINE = { offline: true };
export const policy = makePolicy();

/** Verifies offline, and asserts which checks fail. */
export async function assertFails(receipt: unknown, names: readonly CheckName[], by: Policy | null = policy) {
  const verification = await verifyReceipt(receipt, by, OFFLINE);
  assert.deepEqual(named(verification.checks, 'failed'), names, JSON.stringify(verification.checks, null, 1));
  assert.equal(verification.ok, names.length === 0);
  return verification;
}

export function detailOf({ checks }: Verification, name: CheckName): string {
  return checks.find((check) => check.name === name)?.detail ?? '';
}

/** Signs the receipt's seal again, after something in it was changed on purpose. */
export async function resealed(
  receipt: Receipt,
  by: PrivateKeyAccount,
  edit: (copy: Mutable<Receipt>) => void,
): Promise<Receipt> {
  const copy = edited(receipt, edit) as Mutable<Receipt>;
  copy.seal.signature = await signed(by, copy.registry, 'Seal', copy.seal);
  return copy;
}

/** RFC 3339 of a moment so many milliseconds after the period's beginning. */
export function timeAt(millis: number): string {
  return new Date(PERIOD * 1000 + millis).toISOString();
}
