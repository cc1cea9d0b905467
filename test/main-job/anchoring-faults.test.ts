/** The whole stack while its chain stops, and while the anchoring worker dies with a transaction on the way: F3, F13 and F29. */
import assert from 'node:assert/strict';
import { chainSwitches, type ChainSwitches } from '../weather/chain.ts';
import { auditRecord, post, until, untilLevel } from './client.ts';
import { localStack, PERIOD_SECONDS, type LocalStack } from './local-stack.ts';
import { assertUnbroken, storedSeals } from './unbroken.ts';

/** Seconds from block to block, as the local stack's chain was started. */
const BLOCK_TIME = 1;

describe('anchoring under faults', function () {
  this.timeout(120_000);
  let local: LocalStack;
  let switches: ChainSwitches;

  before(async () => {
    local = await localStack();
    switches = chainSwitches(local.stack.around.rpcUrl);
  });
  afterEach(() => switches.resume(BLOCK_TIME));

  it('F13, F29: the chain halts for two periods; no period is swallowed, seals wait in order, nothing is lost', async () => {
    const tenant = await local.tenant();
    const record = await post(local.stack.apiUrl, tenant, auditRecord());
    await switches.halt();
    const signed = async () => (await storedSeals(local, tenant)).filter((seal) => seal.signature !== null);
    const waiting = await until('three seals to be signed', async () => {
      const seals = await signed();
      return seals.length >= 3 ? seals : undefined;
    });
    assert.ok(
      Number(waiting.at(-1)!.period) - Number(waiting[0]!.period) >= 2 * PERIOD_SECONDS,
      'the first one has waited for two periods',
    );
    assert.ok(waiting.every((seal) => seal.level === 'sealed'));
    await switches.resume(BLOCK_TIME);
    await untilLevel(local.stack.apiUrl, tenant, record.id, 'final');
    await until('those that waited to be final', async () =>
      (await signed()).slice(0, waiting.length).every((seal) => seal.level === 'final') ? true : undefined,
    );
    await assertUnbroken(local, tenant);
  });

  it('F3: kill -9 with a transaction broadcast and in no block; the next worker finds it, and it has one effect', async () => {
    const tenant = await local.tenant();
    const record = await post(local.stack.apiUrl, tenant, auditRecord());
    const relayer = await until('the wallet', async () => {
      const [row] = await local.sql<{ relayer: string }>(
        `SELECT '0x' || encode(relayer, 'hex') AS relayer FROM kiff.wallets`,
      );
      return row?.relayer as `0x${string}` | undefined;
    });
    const count = (blockTag: 'latest' | 'pending') => local.chain.getTransactionCount({ address: relayer, blockTag });
    // Blocks come slowly until one of its transactions is caught between two of them; then none comes any more.
    const nonce = await until('a transaction in the pool', async () => {
      await switches.resume(5 * BLOCK_TIME);
      await until('something to be sent', async () =>
        (await count('pending')) > (await count('latest')) ? true : undefined,
      );
      await switches.halt();
      const next = await count('latest');
      return (await count('pending')) > next ? next : undefined;
    });
    await local.kill('anchoring');
    const stored = () =>
      local.sql<{ state: string; signed: number }>(
        `SELECT n.state, count(*)::int AS signed FROM kiff.nonces n JOIN kiff.transactions t USING (chain_id, relayer, nonce)
          WHERE n.nonce = $1 GROUP BY n.state`,
        [nonce],
      );
    assert.deepEqual(await stored(), [{ state: 'open', signed: 1 }], 'its bytes were stored before anybody saw them');
    await switches.resume(BLOCK_TIME);
    await until('it to be mined, while nobody looks', async () => ((await count('latest')) > nonce ? true : undefined));
    await local.revive('anchoring');
    await untilLevel(local.stack.apiUrl, tenant, record.id, 'final');
    const [row] = await stored();
    assert.ok(
      row !== undefined && row.state !== 'open' && row.signed === 1,
      'found again, and nothing else was signed',
    );
    await assertUnbroken(local, tenant);
  });
});
