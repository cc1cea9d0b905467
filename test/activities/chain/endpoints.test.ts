/** Several RPC endpoints read as one: a devnet behind proxies that die, fall silent, lag and lie. */
import assert from 'node:assert/strict';
import { createTestClient, http } from 'viem';
import type { AgreedChain } from '../../../activities/chain/endpoints.ts';
import { connectAgreedChain } from '../../../workers/chain.ts';
import { anvil } from '../../parts.ts';
import { startRpcProxy, type RpcProxy } from '../../rpc-proxy.ts';
import { failsAs } from '../plane.ts';

const FORGED = `0x${'42'.repeat(32)}`;

/** Says that another block stands at every height. */
const fork = (proxy: RpcProxy): void =>
  proxy.lie(({ method, result }) =>
    method === 'eth_getBlockByNumber' ? { ...(result as object), hash: FORGED } : result,
  );

describe('several RPC endpoints', function () {
  this.timeout(60_000);
  let proxies: RpcProxy[];
  let alerts: string[];
  let rpcUrl: string;
  let chainId: number;

  before(async () => {
    ({ rpcUrl, chainId } = await anvil());
    proxies = await Promise.all([startRpcProxy(rpcUrl), startRpcProxy(rpcUrl), startRpcProxy(rpcUrl)]);
  });
  after(() => Promise.all(proxies.map((proxy) => proxy.stop())));
  beforeEach(async () => {
    alerts = [];
    for (const proxy of proxies) proxy.recover();
    await createTestClient({ mode: 'anvil', transport: http(rpcUrl) }).mine({ blocks: 3 });
  });

  const connect = (count: number): Promise<AgreedChain> =>
    connectAgreedChain(
      proxies.slice(0, count).map((proxy) => proxy.url),
      chainId,
      (name, fields) => void alerts.push(`${name} ${fields['endpoints']}`),
    );

  it('agree on the newest block and on what is read', async () => {
    const chain = await connect(3);
    const { number, hash } = await chain.newest('latest');
    assert.equal(await chain.read(async (endpoint) => (await endpoint.getBlock({ blockNumber: number })).hash), hash);
    assert.equal(await chain.read((endpoint) => endpoint.getChainId()), chainId);
  });

  it('one of three may be down or silent; two may not', async () => {
    const chain = await connect(3);
    proxies[1]!.die();
    await chain.newest('latest');
    proxies[1]!.fallSilent();
    await chain.newest('latest');
    proxies[1]!.die();
    proxies[2]!.die();
    await assert.rejects(chain.newest('latest'), failsAs('chain-unavailable'));
    assert.deepEqual(alerts, []);
    proxies[1]!.recover();
    await chain.newest('latest');
  });

  it('one of two may not be down: they watch each other and do not stand in for each other', async () => {
    const chain = await connect(2);
    proxies[0]!.die();
    await assert.rejects(chain.newest('latest'), failsAs('chain-unavailable'));
  });

  it('one that contradicts stops all, is told apart, and is believed again once it agrees', async () => {
    const chain = await connect(3);
    fork(proxies[1]!);
    await assert.rejects(chain.newest('latest'), failsAs('chain-disagrees'));
    assert.deepEqual(alerts, ['chain-disagrees 1+3 against 2']);
    proxies[1]!.recover();
    await chain.newest('latest');
  });

  it('a liar beside a dead one gets no quorum for its lie', async () => {
    const chain = await connect(3);
    fork(proxies[1]!);
    proxies[0]!.die();
    await assert.rejects(chain.newest('latest'), failsAs('chain-disagrees'));
    proxies[2]!.die();
    await assert.rejects(chain.newest('latest'), failsAs('chain-unavailable'));
  });

  it('one that lags, or invents a height, is as good as away', async () => {
    const chain = await connect(3);
    const truth = await chain.newest('latest');
    for (const height of ['0x0', '0xffffffffffff']) {
      proxies[0]!.lie(({ params, result }) =>
        params[0] === 'latest' ? { ...(result as object), number: height } : result,
      );
      assert.deepEqual(await chain.newest('latest'), truth);
    }
    assert.deepEqual(alerts, []);
  });

  it('a lie is believed where there is one endpoint only: the check needs others', async () => {
    const chain = await connect(1);
    fork(proxies[0]!);
    assert.equal((await chain.newest('latest')).hash, FORGED);
  });

  it('are not started on another chain, or on fewer than a quorum; one that is away is waited for', async () => {
    proxies[0]!.lie(({ method, result }) => (method === 'eth_chainId' ? '0x1' : result));
    await assert.rejects(connect(3), /serves chain 1/);
    proxies[0]!.recover();
    proxies[0]!.die();
    const chain = await connect(3);
    proxies[1]!.die();
    await assert.rejects(connect(3), /1 of 3 RPC endpoints answer; 2 are needed/);
    proxies[0]!.recover();
    await chain.newest('latest');
  });
});
