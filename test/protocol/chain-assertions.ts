/** What the tests of the chain's checks share. */
import assert from 'node:assert/strict';
import type { Receipt } from '../../protocol/receipt.ts';
import { verifyReceipt, type Verification } from '../../protocol/verify.ts';
import { makePolicy, named } from './receipt-factory.ts';
import { scriptedChain, type ScriptOptions, type Tamper } from './scripted-chain.ts';

export const policy = makePolicy();

export async function verified(
  receipt: Receipt,
  options: ScriptOptions = {},
  seen: Receipt = receipt,
): Promise<Verification> {
  return verifyReceipt(seen, policy, { rpc: scriptedChain(receipt, options) });
}

export function detailOf({ checks }: Verification, name: string): string {
  return checks.find((check) => check.name === name)?.detail ?? '';
}

export async function assertHolds(verification: Promise<Verification>): Promise<void> {
  const { ok, checks } = await verification;
  assert.deepEqual(named(checks, 'held').length, 11, JSON.stringify(checks, null, 1));
  assert.equal(ok, true);
}

export async function assertFails(
  verification: Promise<Verification>,
  names: string[],
  saying?: RegExp,
): Promise<void> {
  const result = await verification;
  assert.deepEqual(named(result.checks, 'failed'), names, JSON.stringify(result.checks, null, 1));
  assert.equal(result.ok, false);
  if (saying !== undefined) assert.match(detailOf(result, names[0] ?? ''), saying);
}

/** Changes honest answers to one method, given as a copy. */
export function tampering(method: string, edit: (answer: never, params: readonly unknown[]) => unknown): Tamper {
  return (asked, params, honest) => (asked === method ? edit(structuredClone(honest) as never, params) : honest);
}

export interface AnswerLog {
  address: string;
  topics: string[];
  data: string;
  logIndex: string;
  blockHash: string;
  transactionHash: string;
  removed: boolean;
}

export interface AnswerReceipt {
  status: string;
  blockHash: string;
  blockNumber: string;
  transactionHash: string;
  logs: AnswerLog[];
}

/** Puts another value into word `index` of ABI data. */
export function withWord(data: string, index: number, value: number | string): string {
  const word = typeof value === 'number' ? value.toString(16).padStart(64, '0') : value;
  return data.slice(0, 2 + 64 * index) + word + data.slice(66 + 64 * index);
}
