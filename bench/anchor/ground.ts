/** A PostgreSQL that syncs its commits, a devnet, the wallet's real worker, and as many logs as are asked for. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { createPublicClient, http, parseEventLogs, type TransactionReceipt } from 'viem';
import { privateKeyToAccount } from 'viem/accounts';
import { deployRegistry } from '../../contracts/deploy.ts';
import { registryAbi } from '../../contracts/registry.ts';
import { startAnvil } from '../../dev/anvil.ts';
import { part } from '../../dev/progress.ts';
import { fromHex, toHex } from '../../protocol/hex.ts';
import { durableCluster } from '../../test/durable-cluster.ts';
import { createFleet, type FleetLog } from '../../test/fleet/logs.ts';
import { useDirectly } from '../../test/fleet/directly.ts';
import { startWalletPlane } from '../../test/fleet/wallet.ts';
import { createProductDatabase } from '../../test/product-database.ts';
import { chainSwitches } from '../../test/weather/chain.ts';
import { rounded, secondsOf } from '../measure.ts';

/** One number of logs, one seal of each. */
export interface Round {
  logs: number;
  /** From the start of a worker to the last seal that the table calls included. */
  seconds: number;
  transactions: number;
  gasUsed: bigint;
  /** What the wallet's question for its next seals takes, with all of them waiting. */
  claimMs: number;
}

export interface Ground {
  /** Makes logs until there are so many, each with a seal that is final; then measures one more seal of each. */
  anchorOneOfEach(logs: number): Promise<Round>;
  stop(): Promise<void>;
}

const DEPLOYER = privateKeyToAccount('0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80');
const BLOCK_SECONDS = 2;
/** Seals of every log that the rounds may take. */
const PERIODS = 100;
/** As many as fit into half of a block. */
const FIRST_SEALS_AT_ONCE = 300;
/** Between two looks at how far they are. */
const LOOK_MS = 100;
/** As the wallet asks (activities/anchoring/work.ts). */
const CANDIDATES = 900;

export async function prepareGround(): Promise<Ground> {
  const closers: (() => Promise<unknown>)[] = [];
  const stop = async (): Promise<void> => {
    for (const close of closers.splice(0)) await close();
  };
  try {
    const folder = mkdtempSync(join(tmpdir(), 'kiff-cloud-bench-'));
    closers.unshift(async () => rmSync(folder, { recursive: true }));
    const cluster = await durableCluster();
    closers.unshift(() => cluster.remove());
    const node = await startAnvil({ logFile: join(folder, 'anvil.log') });
    closers.unshift(() => node.stop());
    const { rpcUrl, chainId } = node;
    const lengths = { periodSeconds: 1, coolingOffSeconds: 1 };
    const registry = await deployRegistry({ rpcUrl, chainId, account: DEPLOYER, ...lengths });
    const contract = registry.address;
    const database = await createProductDatabase({
      superuserUrl: cluster.superuserUrl,
      periodSeconds: 1,
      chainId,
      contract,
    });
    const anchoring = await database.connect(database.urls.kiff_anchoring);
    const fleet = await createFleet(database, Math.floor(Date.now() / 1000) - PERIODS, { chainId, contract });
    const plane = await startWalletPlane({
      folder,
      database,
      rpcUrls: [rpcUrl],
      devnetUrl: rpcUrl,
      fromBlock: registry.fromBlock,
      workers: 1,
    });
    closers.unshift(() => plane.stop());

    const directly = await useDirectly(rpcUrl, DEPLOYER, contract);
    const switches = chainSwitches(rpcUrl);
    const client = createPublicClient({ transport: http(rpcUrl), cacheTime: 0 });

    /** Logs with a first seal, by the shortest way: neither their registration nor that seal is measured. */
    async function addLogs(count: number): Promise<void> {
      const made = await fleet.grow(count);
      await directly.register(made);
      await fleet.sign(made);
      for (let from = 0; from < made.length; from += FIRST_SEALS_AT_ONCE) {
        const some = made.slice(from, from + FIRST_SEALS_AT_ONCE);
        await noteAnchored(some, await directly.anchor(some.map(({ seals }) => seals[0]!.input)));
      }
      const block = await client.getBlockNumber();
      await anchoring.query('SELECT kiff.set_registered($1, $2)', [made.map(({ tenantId }) => tenantId), block]);
      await switches.mine(2); // what was just noted as final, is
    }

    /** Notes first seals as the wallet would. */
    async function noteAnchored(logs: readonly FleetLog[], receipt: TransactionReceipt): Promise<void> {
      const places = new Map(
        parseEventLogs({ abi: registryAbi, eventName: 'Sealed', logs: receipt.logs }).map(({ args, logIndex }) => [
          args.logId,
          logIndex,
        ]),
      );
      await anchoring.query(
        `SELECT kiff.set_levels($1, array_fill(1, ARRAY[$2::integer]), array_fill('final'::text, ARRAY[$2::integer]),
                array_fill($3::bytea, ARRAY[$2::integer]), array_fill($4::bigint, ARRAY[$2::integer]),
                array_fill($5::bytea, ARRAY[$2::integer]), $6)`,
        [
          logs.map(({ tenantId }) => tenantId),
          logs.length,
          Buffer.from(fromHex(receipt.transactionHash)),
          receipt.blockNumber,
          Buffer.from(fromHex(receipt.blockHash)),
          logs.map(({ logId }) => places.get(logId)),
        ],
      );
    }

    async function untilAll(level: 'included' | 'final'): Promise<void> {
      for (;;) {
        const [row] = await database.sql<{ waiting: number }>(
          `SELECT count(*) AS waiting FROM kiff.logs WHERE ${level}_seq < signed_seq`,
        );
        if (row?.waiting === 0) return;
        await delay(LOOK_MS);
      }
    }

    async function anchorOneOfEach(count: number): Promise<Round> {
      const progress = part(`${count} logs`);
      progress.start('making them, with a seal each');
      await addLogs(count - fleet.logs.length);
      progress.update('signing one more seal of each');
      await fleet.sign(fleet.logs);
      const before = await database.sql<{ next: number }>(
        'SELECT coalesce(max(nonce) + 1, 0) AS next FROM kiff.nonces',
      );
      const claimMs = Math.round(
        1000 * (await secondsOf(() => anchoring.query('SELECT count(*) FROM kiff.seals_to_anchor($1)', [CANDIDATES]))),
      );

      progress.update('anchoring them');
      await switches.resume(BLOCK_SECONDS);
      const seconds = await secondsOf(async () => {
        await plane.start();
        await untilAll('included');
      });
      await untilAll('final');
      await plane.rest();
      await switches.halt();
      await switches.resume();
      const mined = await database.sql<{ hash: Buffer }>(
        'SELECT mined_hash AS hash FROM kiff.nonces WHERE nonce >= $1',
        [before[0]?.next],
      );
      const receipts = await Promise.all(mined.map(({ hash }) => client.getTransactionReceipt({ hash: toHex(hash) })));
      progress.done(`${receipts.length} transactions`);
      return {
        logs: count,
        seconds: rounded(seconds),
        transactions: receipts.length,
        gasUsed: receipts.reduce((sum, { gasUsed }) => sum + gasUsed, 0n),
        claimMs,
      };
    }
    return { anchorOneOfEach, stop };
  } catch (error) {
    await stop();
    throw error;
  }
}
