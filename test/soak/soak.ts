/**
 * Many signed seals, bad weather at every RPC endpoint, a chain that takes back and halts, and workers that are killed: what the
 * wallet makes of it. Real workers, PostgreSQL, Temporal, KMS stand-in and anvil. The seed decides the weather; what meets it
 * when is left to the machine.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { privateKeyToAccount } from 'viem/accounts';
import { deployRegistry } from '../../contracts/deploy.ts';
import { startAnvil } from '../../dev/anvil.ts';
import { dice } from '../dice.ts';
import { createFleet, type FleetLog } from '../fleet/logs.ts';
import { useDirectly } from '../fleet/directly.ts';
import { startWalletPlane } from '../fleet/wallet.ts';
import { createProductDatabase } from '../product-database.ts';
import { chainSwitches } from '../weather/chain.ts';
import { startWeather } from '../weather/proxy.ts';
import { createStorm, SLOTS_IN_AN_EPOCH } from './storm.ts';
import { takeTally, type Tally } from './tally.ts';

export interface SoakOptions {
  seed: number;
  logs: number;
  seals: number;
  /** How long the storm lasts; the seals are signed little by little meanwhile. */
  stormSeconds: number;
  /** How long it may take afterwards until everything is final. */
  patienceSeconds: number;
  /** Leaves the processes' logs behind. */
  keep?: boolean;
  /** Takes a line about how it goes. */
  say: (line: string) => void;
}

export interface SoakResult extends Tally {
  kills: number;
  /** Transactions that were mined, and how many were signed for them. */
  mined: number;
  signed: number;
  happened: Readonly<Record<string, number>>;
}

const DEPLOYER = privateKeyToAccount('0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80');
const ENDPOINTS = 3;
const WORKERS = 2;
const TICK_MS = 250;
/** So many logs are left for the wallet to register. */
const UNREGISTERED = 3;

export async function soak(options: SoakOptions): Promise<SoakResult> {
  const { seed, logs: logCount, seals, stormSeconds, patienceSeconds, say } = options;
  const folder = mkdtempSync(join(tmpdir(), 'kiff-cloud-soak-'));
  const closers: (() => Promise<unknown>)[] = [];
  const start = performance.now();
  try {
    const chance = dice(seed, 'soak');
    const node = await startAnvil({ logFile: join(folder, 'anvil.log'), slotsInAnEpoch: SLOTS_IN_AN_EPOCH });
    closers.unshift(() => node.stop());
    const { rpcUrl, chainId } = node;
    const registry = await deployRegistry({
      rpcUrl,
      chainId,
      account: DEPLOYER,
      periodSeconds: 1,
      coolingOffSeconds: 1,
    });
    const contract = registry.address;
    const database = await createProductDatabase({ periodSeconds: 1, chainId, contract });
    closers.unshift(() => database.drop());

    const firstPeriod = Math.floor(Date.now() / 1000) - seals;
    const fleet = await createFleet(database, firstPeriod, { chainId, contract });
    const logs = await fleet.grow(logCount);
    await (await useDirectly(rpcUrl, DEPLOYER, contract)).register(logs.slice(UNREGISTERED));

    const switches = chainSwitches(rpcUrl);
    await switches.halt(); // blocks are made by the storm
    const endpoints = await Promise.all(
      Array.from({ length: ENDPOINTS }, (_, index) => startWeather({ upstream: rpcUrl, seed: seed + index })),
    );
    closers.unshift(() => Promise.all(endpoints.map((endpoint) => endpoint.stop())));
    const plane = await startWalletPlane({
      folder,
      database,
      rpcUrls: endpoints.map(({ url }) => url),
      devnetUrl: rpcUrl,
      fromBlock: registry.fromBlock,
      workers: WORKERS,
      settings: { PATIENCE_BLOCKS: '4', FEE_CEILING_GWEI: '100' },
    });
    closers.unshift(() => plane.stop());
    await switches.mine(2 * SLOTS_IN_AN_EPOCH); // the registrations and the relayer's money are final
    await plane.start();
    say(`set up after ${Math.round((performance.now() - start) / 1000)} s`);

    const storm = createStorm(dice(seed, 'storm'), endpoints, switches, plane, WORKERS);
    const began = performance.now();
    const passed = () => (performance.now() - began) / 1000;
    let signed = 0;
    while (passed() < stormSeconds || signed < seals) {
      const ticked = delay(TICK_MS);
      await storm.tick();
      // All of them are signed when four fifths of the storm are over.
      const due = Math.min(seals, Math.ceil((seals * passed()) / (stormSeconds * 0.8)));
      while (signed < due) {
        const count = Math.min(chance.between(1, 4), seals - signed);
        await fleet.sign([chance.pick(logs)], count);
        signed += count;
      }
      await plane.nudge();
      await ticked;
    }
    say(`${signed} seals signed in ${Math.round(passed())} s of storm; ${await finalSeals(logs)} of them are final`);

    await storm.calm();
    for (const deadline = performance.now() + patienceSeconds * 1000; performance.now() < deadline;) {
      await switches.mine();
      await plane.nudge();
      if ((await finalSeals(logs)) === seals) break;
      await delay(TICK_MS);
    }
    say(`${await finalSeals(logs)} are final ${Math.round(passed() - stormSeconds)} s after the storm`);

    const [wallet] = await database.sql<{ mined: number; signed: number }>(
      `SELECT (SELECT count(*) FROM kiff.nonces WHERE state <> 'open') AS mined, (SELECT count(*) FROM kiff.transactions) AS signed`,
    );
    const happened = storm.happened();
    return {
      ...(await takeTally(rpcUrl, database, logs)),
      kills: happened['kill'] ?? 0,
      mined: wallet?.mined ?? 0,
      signed: wallet?.signed ?? 0,
      happened,
    };

    async function finalSeals(of: readonly FleetLog[]): Promise<number> {
      const [row] = await database.sql<{ count: number }>(
        'SELECT coalesce(sum(final_seq), 0)::bigint AS count FROM kiff.logs WHERE tenant = ANY ($1)',
        [of.map(({ tenantId }) => tenantId)],
      );
      return row?.count ?? 0;
    }
  } finally {
    for (const close of closers) await close();
    if (options.keep === true) say(`logs are in ${folder}`);
    else rmSync(folder, { recursive: true, force: true });
  }
}
