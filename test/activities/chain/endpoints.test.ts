/** Several RPC endpoints read as one: a devnet behind providers that are down, fall silent, lag and lie. */
import assert from 'node:assert/strict';
import { createTestClient, http } from 'viem';
import type { AgreedChain } from '../../../activities/chain/endpoints.ts';
import { connectAgreedChain } from '../../../workers/chain.ts';
import { anvil } from '../../parts.ts';
import type { Rule } from '../../weather/faults.ts';
import { startWeather, type Weather } from '../../weather/proxy.ts';
import { failsAs } from '../plane.ts';

const DOWN: Rule = { fault: { do: 'drop', when: 'before' } };
const SILENT: Rule = { fault: { do: 'delay', ms: 600_000 } };
const FORKED: Rule = { fault: { do: 'contradict', about: 'blocks' } };
const LAGGING: Rule = { fault: { do: 'lag', blocks: 2 } };

describe('several RPC endpoints', function () {
  this.timeout(60_000);
  let providers: [Weather, Weather, Weather];
  let alerts: string[];
  let rpcUrl: string;
  let chainId: number;

  before(async () => {
    ({ rpcUrl, chainId } = await anvil());
    const provider = (seed: number) => startWeather({ upstream: rpcUrl, seed });
    providers = await Promise.all([provider(1), provider(2), provider(3)]);
  });
  after(() => Promise.all(providers.map((provider) => provider.stop())));
  beforeEach(async () => {
    alerts = [];
    for (const provider of providers) provider.set();
    await createTestClient({ mode: 'anvil', transport: http(rpcUrl) }).mine({ blocks: 3 });
  });

  const connect = (count: number): Promise<AgreedChain> =>
    connectAgreedChain(
      providers.slice(0, count).map((provider) => provider.url),
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
    providers[1].set(DOWN);
    await chain.newest('latest');
    providers[1].set(SILENT);
    await chain.newest('latest');
    providers[1].set(DOWN);
    providers[2].set(DOWN);
    await assert.rejects(chain.newest('latest'), failsAs('chain-unavailable'));
    assert.deepEqual(alerts, []);
    providers[1].set();
    await chain.newest('latest');
  });

  it('one of two may not be down: they watch each other and do not stand in for each other', async () => {
    const chain = await connect(2);
    providers[0].set(DOWN);
    await assert.rejects(chain.newest('latest'), failsAs('chain-unavailable'));
  });

  it('one that contradicts stops all, is told apart, and is believed again once it agrees', async () => {
    const chain = await connect(3);
    providers[1].set(FORKED);
    await assert.rejects(chain.newest('latest'), failsAs('chain-disagrees'));
    await assert.rejects(chain.newest('safe'), failsAs('chain-disagrees'));
    assert.deepEqual(alerts, ['chain-disagrees 1+3 against 2'], 'told once');
    providers[1].set();
    await chain.newest('latest');
  });

  it('a liar beside a dead one gets no quorum for its lie', async () => {
    const chain = await connect(3);
    providers[1].set(FORKED);
    providers[0].set(DOWN);
    await assert.rejects(chain.newest('latest'), failsAs('chain-disagrees'));
    providers[2].set(DOWN);
    await assert.rejects(chain.newest('latest'), failsAs('chain-unavailable'));
  });

  it('one that lags is as good as away: the newest block is what the others have', async () => {
    const chain = await connect(3);
    const truth = await chain.newest('latest');
    providers[0].set(LAGGING);
    assert.deepEqual(await chain.newest('latest'), truth);
    assert.deepEqual(alerts, []);
    // Where it is needed for the quorum, the newest block is the newest that it has.
    providers[2].set(DOWN);
    assert.equal((await chain.newest('latest')).number, truth.number - 2n);
  });

  it('a lie is believed where there is one endpoint only: the check needs others', async () => {
    const chain = await connect(1);
    const { hash } = await chain.newest('latest');
    providers[0].set(FORKED);
    assert.notEqual((await chain.newest('latest')).hash, hash);
  });

  it('are not started on another chain, or on fewer than a quorum; one that is away is waited for', async () => {
    const { url } = providers[0];
    await assert.rejects(
      connectAgreedChain([url], 8453, () => undefined),
      /serves chain 31337, not 8453/,
    );
    providers[0].set(DOWN);
    const chain = await connect(3);
    providers[1].set(DOWN);
    await assert.rejects(connect(3), /1 of 3 RPC endpoints answer; 2 are needed/);
    providers[0].set();
    await chain.newest('latest');
  });
});
