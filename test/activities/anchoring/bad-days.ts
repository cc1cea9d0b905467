/** A plane whose anchoring side sees a chain of its own through two RPC providers, and what a test asks of it. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Advance } from '../../../activities/anchoring/create.ts';
import { registryAbi } from '../../../contracts/registry.ts';
import { startAnvil } from '../../../dev/anvil.ts';
import { toHex, type Hex } from '../../../protocol/hex.ts';
import type { TestTenant } from '../../product-database.ts';
import { until } from '../../main-job/client.ts';
import { chainSwitches, type ChainSwitches } from '../../weather/chain.ts';
import type { Rule } from '../../weather/faults.ts';
import { startWeather, type Weather } from '../../weather/proxy.ts';
import { createPlane, type Plane, type PlaneOptions } from '../plane.ts';

export interface BadDays extends Plane {
  rpcUrl: string;
  /** The first is asked about the tip; both must agree on what is final. */
  providers: [Weather, Weather];
  both(...rules: Rule[]): void;
  switches: ChainSwitches;
  /** Opens a nonce for what waits. */
  open(): Promise<number>;
  /** One look at a nonce. */
  look(nonce: number): Promise<Advance>;
  /** Looks, with a block before each, until the nonce is mined. */
  untilMined(nonce: number): Promise<Advance>;
  /** Follows everything that waits until it is final, with a block before each look. */
  untilFinal(): Promise<void>;
  /** Hashes of all transactions ever signed for a nonce, oldest first. */
  signedFor(nonce: number): Promise<Hex[]>;
  /** How often each seq of a log was sealed on chain, in the order of the chain. */
  sealedOnChain(tenant: TestTenant): Promise<number[]>;
  /** Every provider truthful, every switch back, nothing in the pool. */
  clear(): Promise<void>;
}

export async function createBadDays(options: Pick<PlaneOptions, 'coolingOffSeconds'> = {}): Promise<BadDays> {
  const folder = mkdtempSync(join(tmpdir(), 'kiff-cloud-bad-days-'));
  const node = await startAnvil({ logFile: join(folder, 'anvil.log') });
  const providers: [Weather, Weather] = [
    await startWeather({ upstream: node.rpcUrl, seed: 1 }),
    await startWeather({ upstream: node.rpcUrl, seed: 2 }),
  ];
  const switches = chainSwitches(node.rpcUrl);
  const plane = await createPlane({ ...options, node, anchoringUrls: providers.map(({ url }) => url) });
  const look = (nonce: number): Promise<Advance> => plane.anchoring.advanceTransaction({ nonce });

  return {
    ...plane,
    rpcUrl: node.rpcUrl,
    providers,
    switches,
    both(...rules) {
      for (const provider of providers) provider.set(...rules);
    },
    async open() {
      // A call sees the time of the newest block, and after a reorganisation this chain's clock is behind.
      return until('something to send', async () => {
        await switches.mine();
        return (await plane.anchoring.nextTransaction()).inFlight?.nonce;
      });
    },
    look,
    async untilMined(nonce) {
      for (let tries = 0; tries < 20; tries++) {
        const advance = await look(nonce);
        if (advance.mined) return advance;
        await switches.mine();
      }
      throw new Error(`nonce ${nonce} is not mined`);
    },
    async untilFinal() {
      for (let tries = 0; tries < 20; tries++) {
        await switches.mine();
        const { waiting } = await plane.anchoring.confirmSeals();
        if (waiting === 0) return;
      }
      throw new Error('something does not become final');
    },
    async signedFor(nonce) {
      const rows = await plane.database.sql<{ hash: Buffer }>(
        'SELECT hash FROM kiff.transactions WHERE nonce = $1 ORDER BY signed_at',
        [nonce],
      );
      return rows.map(({ hash }) => toHex(hash));
    },
    async sealedOnChain(tenant) {
      const logs = await plane.chain.getContractEvents({
        address: plane.registry.address,
        abi: registryAbi,
        eventName: 'Sealed',
        args: { logId: tenant.logId },
        fromBlock: 0n,
        strict: true,
      });
      return logs.map(({ args }) => args.seq);
    },
    async clear() {
      for (const provider of providers) provider.set();
      await switches.drop();
      await switches.resume();
      plane.alerts();
      plane.events();
    },
    async stop() {
      await plane.stop();
      await Promise.all(providers.map((provider) => provider.stop()));
      await node.stop();
      rmSync(folder, { recursive: true });
    },
  };
}
