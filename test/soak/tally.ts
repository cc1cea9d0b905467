/** What stands on chain in the end, read from the chain itself, against what was signed. */
import { createPublicClient, http, type Hex } from 'viem';
import { registryAbi } from '../../contracts/registry.ts';
import type { FleetLog } from '../fleet/logs.ts';
import type { ProductDatabase } from '../product-database.ts';

export interface Tally {
  /** Signed seals. */
  seals: number;
  /** Signed and not on chain. */
  lost: number;
  /** On chain beyond the first time, or never signed. */
  double: number;
  /** On chain, not right after the seal before it. */
  outOfOrder: number;
  /** Seals that our table does not call final at the very place where the chain has them. */
  misplaced: number;
}

/** Where a `Sealed` event stands, in one word. */
type Place = string;

/** One log's `Sealed` events in the order of the chain, and its row of every seal. */
export interface Standing {
  events: readonly { seq: number; sealHash: Hex; place: Place }[];
  rows: readonly { seq: number; level: string; place: Place | null }[];
}

/** @param signed the struct hash of every signed seal of the log, by seq - 1 */
export function countLog(signed: readonly Hex[], { events, rows }: Standing): Tally {
  const seen = new Map<number, Place>();
  let double = 0;
  let outOfOrder = 0;
  let last = 0;
  for (const { seq, sealHash, place } of events) {
    if (seen.has(seq) || signed[seq - 1] !== sealHash) double++;
    else seen.set(seq, place);
    if (seq !== last + 1) outOfOrder++;
    last = seq;
  }
  const settled = rows.filter(
    ({ seq, level, place }) => level === 'final' && place !== null && place === seen.get(seq),
  );
  const lost = signed.length - seen.size;
  return { seals: signed.length, lost, double, outOfOrder, misplaced: signed.length - settled.length };
}

export async function takeTally(rpcUrl: string, database: ProductDatabase, logs: readonly FleetLog[]): Promise<Tally> {
  const client = createPublicClient({ transport: http(rpcUrl), cacheTime: 0 });
  const events = await client.getContractEvents({
    address: database.contract,
    abi: registryAbi,
    eventName: 'Sealed',
    fromBlock: 0n,
    strict: true,
  });
  const total: Tally = { seals: 0, lost: 0, double: 0, outOfOrder: 0, misplaced: 0 };
  for (const log of logs) {
    const tally = countLog(
      log.seals.map(({ sealHash }) => sealHash),
      {
        events: events
          .filter(({ args }) => args.logId === log.logId)
          .map(({ args: { seq, sealHash }, transactionHash, blockNumber, blockHash, logIndex }) => ({
            seq,
            sealHash,
            place: [transactionHash, blockNumber, blockHash, logIndex].join(),
          })),
        rows: await database.sql<Standing['rows'][number]>(
          `SELECT seq, level, '0x' || encode(tx_hash, 'hex') || ',' || block_number || ',0x' || encode(block_hash, 'hex') || ',' ||
                  log_index AS place FROM kiff_t_${log.tenantId}.seals`,
        ),
      },
    );
    for (const name of Object.keys(total) as (keyof Tally)[]) total[name] += tally[name];
  }
  return total;
}
