/** The weather machine itself: every fault does what it says, and nothing else is touched. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createPublicClient, encodeFunctionData, http, keccak256, parseGwei, type Hex, type PublicClient } from 'viem';
import { privateKeyToAccount } from 'viem/accounts';
import { deployRegistry } from '../../contracts/deploy.ts';
import { registryAbi } from '../../contracts/registry.ts';
import { startAnvil, type Anvil } from '../../dev/anvil.ts';
import { chainSwitches, type ChainSwitches } from './chain.ts';
import { dice } from '../dice.ts';
import {
  alreadyKnown,
  inventedReceipt,
  nonceTooLow,
  rateLimited,
  replacementUnderpriced,
  swallowedSend,
  type Fault,
  type Rule,
} from './faults.ts';
import { startWeather, type Weather } from './proxy.ts';

const ACCOUNT = privateKeyToAccount('0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80');

const client = (url: string, batch = false) =>
  createPublicClient({ transport: http(url, { retryCount: 0, batch }), cacheTime: 0 });

describe('the weather machine', function () {
  this.timeout(30_000);
  const folder = mkdtempSync(join(tmpdir(), 'kiff-cloud-weather-'));
  const opened: Weather[] = [];
  let node: Anvil;
  let switches: ChainSwitches;
  let honest: PublicClient;

  before(async () => {
    node = await startAnvil({ logFile: join(folder, 'anvil.log') });
    switches = chainSwitches(node.rpcUrl);
    honest = client(node.rpcUrl);
    await switches.mine(8);
  });
  afterEach(async () => {
    await Promise.all(opened.splice(0).map((proxy) => proxy.stop()));
    await switches.resume();
  });
  after(async () => {
    await node.stop();
    rmSync(folder, { recursive: true });
  });

  async function weather(...rules: Rule[]) {
    const proxy = await startWeather({ upstream: node.rpcUrl, seed: 1, rules });
    opened.push(proxy);
    return { ...proxy, client: client(proxy.url) };
  }

  async function transaction(to: Hex = ACCOUNT.address, data: Hex = '0x'): Promise<{ raw: Hex; hash: Hex }> {
    const nonce = await honest.getTransactionCount({ address: ACCOUNT.address });
    const fees = { maxFeePerGas: parseGwei('10'), maxPriorityFeePerGas: 1n };
    const raw = await ACCOUNT.signTransaction({ to, data, nonce, gas: 100_000n, chainId: node.chainId, ...fees });
    return { raw, hash: keccak256(raw) };
  }

  const isMined = async (hash: Hex, on = honest): Promise<boolean> =>
    (await on.request({ method: 'eth_getTransactionReceipt', params: [hash] })) !== null;

  /** Anvil answers a transaction before it has made its block; a test that takes too long fails. */
  async function untilMined(hash: Hex): Promise<void> {
    while (!(await isMined(hash)));
  }

  it('lets through what no rule befalls, single calls and batches', async () => {
    const proxy = await weather({ methods: ['eth_getCode'], fault: { do: 'http', status: 503 } });
    assert.equal(await proxy.client.getChainId(), node.chainId);
    const batched = client(proxy.url, true);
    const [number, balance] = await Promise.all([
      batched.getBlockNumber(),
      batched.getBalance({ address: ACCOUNT.address }),
    ]);
    assert.equal(number, await honest.getBlockNumber());
    assert.equal(balance, await honest.getBalance({ address: ACCOUNT.address }));
    assert.equal(proxy.calls('eth_getBalance'), 1);
    await assert.rejects(proxy.client.getCode({ address: ACCOUNT.address }), /503/);
  });

  it('one call of a batch is spoilt, and its neighbours are not', async () => {
    const refusal: Fault = { do: 'refuse', message: 'not today', forward: false };
    const { url } = await weather({ methods: ['eth_getBalance'], fault: refusal });
    const batched = client(url, true);
    const [balance, number] = await Promise.allSettled([
      batched.getBalance({ address: ACCOUNT.address }),
      batched.getBlockNumber(),
    ]);
    assert.equal(balance.status, 'rejected');
    assert.match(String(balance.reason), /not today/);
    assert.deepEqual(number, { status: 'fulfilled', value: await honest.getBlockNumber() });
  });

  for (const [name, rule, reaches, says] of [
    ['already known', alreadyKnown, true, /already known/],
    ['nonce too low', nonceTooLow, true, /nonce too low/],
    ['replacement transaction underpriced', replacementUnderpriced, false, /replacement transaction underpriced/],
    ['a connection closed before', { fault: { do: 'drop', when: 'before' } }, false, /fetch failed/],
    ['a connection closed after', { fault: { do: 'drop', when: 'after' } }, true, /fetch failed/],
    ['too many requests', rateLimited, false, /429/],
    ['a transaction swallowed', swallowedSend, false, null],
    ['a late answer', { fault: { do: 'late', ms: 20 } }, true, null],
    ['a delayed call', { fault: { do: 'delay', ms: 20 } }, true, null],
  ] satisfies [string, Rule, boolean, RegExp | null][]) {
    it(`${name}: the chain ${reaches ? 'has' : 'never sees'} the transaction`, async () => {
      const { client: spoilt } = await weather(rule);
      const { raw, hash } = await transaction();
      const send = spoilt.request({ method: 'eth_sendRawTransaction', params: [raw] });
      if (says === null) assert.equal(await send, hash);
      else await assert.rejects(send, says);
      if (reaches) await untilMined(hash);
      await switches.mine();
      assert.equal(await isMined(hash), reaches);
    });
  }

  it('late is late for the client, and in time for the chain', async () => {
    const { client: slow } = await weather({ fault: { do: 'late', ms: 600_000 } });
    const { raw, hash } = await transaction();
    const abandoned = slow.request({ method: 'eth_sendRawTransaction', params: [raw] });
    await untilMined(hash);
    await opened.pop()?.stop();
    await assert.rejects(abandoned, /fetch failed/);
  });

  it('a lagging node does not know what came since, by number, tag, hash or state', async () => {
    const { client: lagging } = await weather({ fault: { do: 'lag', blocks: 2 } });
    const { raw, hash } = await transaction();
    await honest.sendRawTransaction({ serializedTransaction: raw });
    await untilMined(hash);
    await switches.mine();
    const head = await honest.getBlock();
    const before = await honest.getTransactionCount({ address: ACCOUNT.address });
    assert.equal(await lagging.getBlockNumber(), head.number - 2n);
    assert.equal((await lagging.getBlock()).number, head.number - 2n);
    assert.equal(
      (await lagging.getBlock({ blockTag: 'finalized' })).number,
      (await honest.getBlock({ blockTag: 'finalized' })).number - 2n,
    );
    assert.equal(await isMined(hash, lagging), false);
    await assert.rejects(lagging.getBlock({ blockHash: head.hash }), /could not be found/);
    await assert.rejects(lagging.getBlock({ blockNumber: head.number }), /could not be found/);
    assert.equal(await lagging.getTransactionCount({ address: ACCOUNT.address }), before - 1);
    await assert.rejects(
      lagging.getBalance({ address: ACCOUNT.address, blockNumber: head.number }),
      /header not found/,
    );
    await switches.mine();
    assert.equal(await isMined(hash, lagging), true, 'two blocks later it has caught up with that one');
  });

  it('an invented receipt has the events that the transaction would have, in a block that exists', async () => {
    const registry = await deployRegistry({
      ...node,
      account: ACCOUNT,
      periodSeconds: 1,
      coolingOffSeconds: 1,
    });
    const { client: lying } = await weather(swallowedSend, inventedReceipt);
    const args = [ACCOUNT.address, keccak256('0x01')] as const;
    const register = encodeFunctionData({ abi: registryAbi, functionName: 'register', args });
    const { raw, hash } = await transaction(registry.address, register);
    await assert.rejects(lying.getTransactionReceipt({ hash }), /could not be found/, 'it has not seen it yet');
    await lying.sendRawTransaction({ serializedTransaction: raw });
    const { status, logs, blockHash, blockNumber } = await lying.getTransactionReceipt({ hash });
    assert.equal(status, 'success');
    assert.equal(blockHash, (await honest.getBlock({ blockNumber })).hash);
    assert.equal(await isMined(hash), false);
    await honest.sendRawTransaction({ serializedTransaction: raw });
    await untilMined(hash);
    const real = await honest.getTransactionReceipt({ hash });
    assert.deepEqual(
      logs.map(({ address, topics, data }) => ({ address, topics, data })),
      real.logs.map(({ address, topics, data }) => ({ address, topics, data })),
    );
  });

  it('a twin shows other hashes for the same blocks, and follows them', async () => {
    const { client: twin } = await weather({ fault: { do: 'contradict', about: 'blocks' } });
    const { raw, hash } = await transaction();
    await twin.sendRawTransaction({ serializedTransaction: raw });
    await untilMined(hash);
    const real = await honest.getBlock();
    const shown = await twin.getBlock();
    assert.equal(shown.number, real.number);
    assert.notEqual(shown.hash, real.hash);
    assert.equal((await twin.getTransactionReceipt({ hash })).blockHash, shown.hash);
    assert.equal((await twin.getBlock({ blockHash: shown.hash })).number, real.number);
    assert.equal((await twin.getBlock({ blockNumber: real.number - 1n })).hash, shown.parentHash);
  });

  it('a twin of another state has another answer to a call', async () => {
    const { client: twin } = await weather({ fault: { do: 'contradict', about: 'state' } });
    // The identity precompile gives back what it is given.
    const call = { to: '0x0000000000000000000000000000000000000004', data: '0x1234' } as const;
    assert.equal((await honest.call(call)).data, '0x1234');
    assert.equal((await twin.call(call)).data, '0x1235');
  });

  it('the same seed makes the same weather, whatever other calls fall in between; another seed another', async () => {
    const rules: Rule[] = [{ methods: ['eth_chainId'], probability: 0.5, fault: { do: 'http', status: 500 } }];
    const history = async (seed: number, between: boolean): Promise<string> => {
      const proxy = await startWeather({ upstream: node.rpcUrl, seed, rules });
      opened.push(proxy);
      let seen = '';
      for (let call = 0; call < 40; call++) {
        if (between) await client(proxy.url).getGasPrice();
        seen += await client(proxy.url)
          .getChainId()
          .then(
            () => '.',
            () => 'x',
          );
      }
      assert.equal(proxy.faults().http, seen.replaceAll('.', '').length);
      return seen;
    };
    const first = await history(7, false);
    assert.equal(await history(7, true), first);
    assert.notEqual(await history(8, false), first);
    assert.match(first, /x.*\.|\..*x/);
  });

  it('a rule with a number of times ends', async () => {
    const { client: once } = await weather({ fault: { do: 'http', status: 500 }, times: 1 });
    await assert.rejects(once.getChainId(), /500/);
    assert.equal(await once.getChainId(), node.chainId);
  });

  it('dice stay within their bounds and reach them', () => {
    const row = dice(3, 'bounds');
    const rolled = Array.from({ length: 200 }, () => row.between(1, 3));
    assert.deepEqual(new Set(rolled), new Set([1, 2, 3]));
    assert.deepEqual(new Set(Array.from({ length: 200 }, () => row.pick(['a', 'b']))), new Set(['a', 'b']));
  });

  it('the chain halts and goes on, loses what waits, and takes blocks back', async () => {
    await switches.halt();
    const { raw, hash } = await transaction();
    await honest.sendRawTransaction({ serializedTransaction: raw });
    assert.equal(await isMined(hash), false);
    await switches.drop(hash);
    await switches.mine();
    assert.equal(await isMined(hash), false, 'it was lost');
    await honest.sendRawTransaction({ serializedTransaction: raw });
    await switches.drop();
    await honest.sendRawTransaction({ serializedTransaction: raw });
    await switches.resume();
    await switches.mine();
    assert.equal(await isMined(hash), true);
    const { blockNumber, blockHash } = await honest.getTransactionReceipt({ hash });
    await switches.reorg(Number((await honest.getBlockNumber()) - blockNumber) + 1);
    assert.equal(await isMined(hash), false);
    assert.notEqual((await honest.getBlock({ blockNumber })).hash, blockHash);
    await honest.sendRawTransaction({ serializedTransaction: raw });
    // The same bytes are good again.
    await untilMined(hash);
  });

  it('sets the price of the next block', async () => {
    await switches.baseFee(parseGwei('77'));
    await switches.mine();
    assert.equal((await honest.getBlock()).baseFeePerGas, parseGwei('77'));
  });
});
