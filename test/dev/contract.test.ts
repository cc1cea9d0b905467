import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { contractOn } from '../../dev/contract.ts';
import { readStackEnv } from '../../dev/env.ts';
import { anvil } from '../parts.ts';

describe('dev/contract', function () {
  this.timeout(30_000);
  const state = mkdtempSync(join(tmpdir(), 'kiff-cloud-contract-'));
  after(() => rmSync(state, { recursive: true }));

  it('deploys one with the period that was asked for; one that is named keeps its own, and another is refused', async () => {
    const { rpcUrl } = await anvil();
    const on = (env: Record<string, string>) => contractOn(state, rpcUrl, readStackEnv(env));
    const deployed = await on({ KIFF_PERIOD_SECONDS: '91' });
    assert.equal(deployed.periodSeconds, 91);
    const named = { CONTRACT: deployed.address };
    assert.equal((await on(named)).periodSeconds, 91);
    assert.equal((await on({ ...named, KIFF_PERIOD_SECONDS: '91' })).codeHash, deployed.codeHash);
    await assert.rejects(
      on({ ...named, KIFF_PERIOD_SECONDS: '60' }),
      /period is 91 s, and KIFF_PERIOD_SECONDS says 60/,
    );
    await assert.rejects(on({ CONTRACT: `0x${'12'.repeat(20)}` }), /no contract at/);
  });
});
