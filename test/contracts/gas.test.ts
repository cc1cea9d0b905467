import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { packageRoot } from '../../contracts/root.ts';
import { startDevnet, type Devnet } from './devnet.ts';
import { measureGas, type Figures } from './gas.ts';

const snapshotFile = path.join(packageRoot, 'test/contracts/gas-snapshot.json');

describe('SealRegistry: gas', () => {
  let net: Devnet;
  let figures: Figures;
  before(async function () {
    this.timeout(60_000);
    net = await startDevnet({ periodSeconds: 3600, coolingOffSeconds: 0 });
    figures = await measureGas(net);
    if (process.env['GAS_SNAPSHOT'] === 'write') {
      writeFileSync(snapshotFile, `${JSON.stringify(figures, null, 2)}\n`);
    }
  });
  after(async () => {
    await net.stop();
  });

  it('keeps the budget on logs that hold a seal: 22,000 a seal in a batch of 100, 45,000 alone', () => {
    const { sealInBatchOf100 = Infinity, sealAlone = Infinity } = figures;
    assert.ok(sealInBatchOf100 <= 22_000, `${sealInBatchOf100} in a batch of 100`);
    assert.ok(sealAlone <= 45_000, `${sealAlone} alone`);
  });

  it('is what the snapshot says (GAS_SNAPSHOT=write accepts a change)', () => {
    assert.deepEqual(figures, JSON.parse(readFileSync(snapshotFile, 'utf8')));
  });
});
