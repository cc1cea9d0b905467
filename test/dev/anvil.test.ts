import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { createPublicClient, createTestClient, createWalletClient, http, parseEther, type Hash } from 'viem';
import { mnemonicToAccount } from 'viem/accounts';
import { startAnvil, type Anvil, type AnvilOptions } from '../../dev/anvil.ts';
import { processBirth } from '../../dev/process-identity.ts';

const account = mnemonicToAccount('test test test test test test test test test test test junk');
const to = '0x00000000000000000000000000000000000000aa';

describe('dev/anvil', function () {
  this.timeout(60_000);
  let directory: string;
  let chains: Anvil[];

  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), 'kiff-cloud-anvil-'));
    chains = [];
  });

  afterEach(async () => {
    await Promise.all(chains.map((chain) => chain.stop()));
    rmSync(directory, { recursive: true, force: true });
  });

  async function start(options: Partial<AnvilOptions> = {}) {
    const anvil = await startAnvil({ logFile: join(directory, `${chains.length}.log`), ...options });
    chains.push(anvil);
    const transport = http(anvil.rpcUrl);
    return {
      anvil,
      reader: createPublicClient({ transport, cacheTime: 0, pollingInterval: 50 }),
      wallet: createWalletClient({ transport, account }),
      miner: createTestClient({ transport, mode: 'anvil' }),
    };
  }

  /** Sends one wei-transfer and waits until it is mined. */
  async function transfer({ reader, wallet }: Awaited<ReturnType<typeof start>>): Promise<Hash> {
    const hash = await wallet.sendTransaction({ chain: null, to, value: parseEther('1') });
    await reader.waitForTransactionReceipt({ hash });
    return hash;
  }

  it('is Base as far as we look: chain id, safe one behind the head, finalized two', async () => {
    const { anvil, reader, miner } = await start();
    assert.equal(await reader.getChainId(), 31337);
    assert.equal(anvil.chainId, 31337);
    await miner.mine({ blocks: 5 });
    const [latest, safe, finalized] = await Promise.all(
      (['latest', 'safe', 'finalized'] as const).map(async (blockTag) => (await reader.getBlock({ blockTag })).number),
    );
    assert.deepEqual([latest, safe, finalized], [5n, 4n, 3n]);
  });

  it('goes on with the same chain after a restart, at the time of day', async () => {
    const stateFile = join(directory, 'chain.json');
    const first = await start({ stateFile });
    const hash = await transfer(first);
    const before = await first.reader.getBlock();
    await first.anvil.stop();

    const second = await start({ stateFile });
    assert.equal((await second.reader.getBlock({ blockNumber: before.number })).hash, before.hash);
    assert.equal((await second.reader.getTransactionReceipt({ hash })).blockHash, before.hash);
    assert.equal(await second.reader.getTransactionCount({ address: account.address }), 1);
    assert.equal(
      await second.reader.getBalance({ address: to, blockTag: 'finalized' }),
      parseEther('1'),
      'readable at once',
    );
    const next = await second.reader.getBlock({ blockNumber: before.number + 1n });
    assert.equal(next.parentHash, before.hash);
    assert.ok(next.timestamp >= before.timestamp);
    // The same clock: a chain that went on from its last block's time would lag by the pause, and more at each restart.
    assert.ok(Math.abs(Number(next.timestamp) - Date.now() / 1000) < 30);
    await transfer(second);
  });

  it('keeps what its state file has when it is killed, and the next start ends a chain that was left', async () => {
    const stateFile = join(directory, 'chain.json');
    const first = await start({ stateFile });
    const hash = await transfer(first);
    while (!existsSync(stateFile) || !readFileSync(stateFile, 'utf8').includes(hash)) await delay(50);

    const second = await start({ stateFile });
    assert.equal(processBirth(first.anvil.pid), undefined);
    process.kill(second.anvil.pid, 'SIGKILL');
    assert.deepEqual(await second.anvil.exited, { code: null, signal: 'SIGKILL' });

    const third = await start({ stateFile });
    assert.equal((await third.reader.getTransactionReceipt({ hash })).status, 'success');
  });

  it('mines by itself when a block time is set, and stays silent', async () => {
    const { anvil, reader } = await start({ blockTime: 1 });
    while ((await reader.getBlockNumber()) < 2n) await delay(50);
    await anvil.stop();
    assert.doesNotMatch(readFileSync(join(directory, '0.log'), 'utf8'), /Block Number: 2|eth_blockNumber/);
  });

  it('says what to do about a state file that was cut short', async () => {
    const stateFile = join(directory, 'chain.json');
    writeFileSync(stateFile, '{"block":{"num');
    await assert.rejects(start({ stateFile }), /cut short.*--fresh/);
  });
});
