import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { size } from 'viem';
import { cutBatch, gasLimit, MAX_GAS, plannedGas, type SignerKind } from '../../../activities/anchoring/batch.ts';
import { anchorCall } from '../../../activities/anchoring/choose.ts';
import type { QueuedSeal } from '../../../activities/anchoring/queue.ts';
import { packageRoot } from '../../../dev/root.ts';
import type { Hex } from '../../../protocol/hex.ts';

const word = (byte: string): Hex => `0x${byte.repeat(32)}`;

const seal = (seq: number, signatureBytes = 65): QueuedSeal => ({
  tenantId: 'acme',
  logId: word('11'),
  seq,
  period: 3600,
  treeSize: 1,
  root: word('22'),
  sealHash: word('33'),
  signer: `0x${'44'.repeat(20)}`,
  signature: `0x${'55'.repeat(signatureBytes)}`,
  refusals: 0,
});
const seals = (count: number, from = 2, signatureBytes = 65): QueuedSeal[] =>
  Array.from({ length: count }, (_, index) => seal(from + index, signatureBytes));
const firstSeals = (count: number): QueuedSeal[] => Array.from({ length: count }, () => seal(1));

function assertFits(batch: readonly QueuedSeal[], kind: SignerKind): void {
  assert.ok(size(anchorCall(batch)) <= 110_000, 'call data');
  const planned = plannedGas(batch, kind);
  assert.ok(gasLimit(planned, planned, kind) <= MAX_GAS, 'gas limit');
}

describe('a batch', () => {
  it('of keys: 300 seals at most, in their order', () => {
    const batch = cutBatch(seals(400), 'key');
    assert.equal(batch.length, 300);
    assert.deepEqual(batch, seals(300));
    assertFits(batch, 'key');
  });

  it('of contracts: 50 at most, first seals too', () => {
    assert.equal(cutBatch(seals(400), 'contract').length, 50);
    assert.equal(cutBatch(firstSeals(400), 'contract').length, 50);
    assertFits(cutBatch(firstSeals(400), 'contract'), 'contract');
  });

  it('of first seals: as many as gas allows, and no one less', () => {
    const batch = cutBatch(firstSeals(400), 'key');
    assert.ok(batch.length > 200 && batch.length < 300);
    assertFits(batch, 'key');
    assert.throws(() => assertFits([...batch, seal(1)], 'key'), /gas limit/);
  });

  it('of long signatures: as many as call data allows, and no one less', () => {
    const batch = cutBatch(seals(300, 2, 1_000), 'key');
    assertFits(batch, 'key');
    assert.throws(() => assertFits([...batch, seal(9, 1_000)], 'key'), /call data/);
    assert.deepEqual(cutBatch([seal(2, 120_000)], 'key'), [], 'what fits into no transaction is in none');
  });

  it('plans no less gas than the contract was measured to use', () => {
    const file = join(packageRoot, 'test/contracts/gas-snapshot.json');
    const measured = JSON.parse(readFileSync(file, 'utf8')) as {
      sealInBatchOf100: number;
      firstSealInBatchOf99: number;
    };
    assert.ok(plannedGas(seals(100), 'key') >= 100n * BigInt(measured.sealInBatchOf100));
    assert.ok(plannedGas(firstSeals(99), 'key') >= 99n * BigInt(measured.firstSealInBatchOf99));
  });
});
