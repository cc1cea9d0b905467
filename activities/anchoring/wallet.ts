/**
 * The relayer's wallet in the database: the lease, the nonces, and every transaction ever signed. A transaction's bytes
 * are stored before anybody sees them, so that whatever dies, they are found again and nothing else is ever sent.
 */
import type { Pool } from 'pg';
import { fromHex, toHex, type Hex } from '../../protocol/hex.ts';
import type { BlockName } from '../chain/endpoints.ts';
import { failure } from '../failures.ts';
import type { Offer } from './fees.ts';
import type { HandoverEvent } from './handover-events.ts';
import { newsOf, rowOf, type HandoverNews, type NewsRow } from './handovers.ts';
import type { Spending } from './runway.ts';

export interface OpenNonce {
  nonce: number;
  kind: 'register' | 'anchor' | 'propose' | 'accept' | 'cancel';
  to: Hex;
  data: Hex;
  gas: bigint;
  /** The newest block when a reorganisation opened it again; 0 if none did. */
  reopenedBlock: bigint;
}

export interface SignedTransaction extends Offer {
  hash: Hex;
  raw: Hex;
}

/** Where a nonce's transaction was mined. */
export interface Mined {
  hash: Hex;
  block: BlockName;
  /** What it cost in all, wei. */
  cost: bigint;
}

export interface MinedNonce {
  nonce: number;
  /** Null in rows of older versions, which did not keep it. */
  blockHash: Hex | null;
  blockNumber: bigint;
}

const bytes = (hex: Hex): Buffer => Buffer.from(fromHex(hex));

export type Wallet = ReturnType<typeof createWallet>;

export interface WalletName {
  chainId: number;
  relayer: Hex;
  /** The workflow run on whose behalf everything is done. */
  run: string;
  /** A lease outlives any wait of its holder, who renews it with every step. */
  leaseSeconds: number;
}

/** One wallet, seen by one workflow run. Every write is refused (`wallet-held`) unless that run holds the lease. */
export function createWallet(pool: Pool, { chainId, relayer, run, leaseSeconds }: WalletName) {
  const wallet = [chainId, bytes(relayer)] as const;
  const OF_WALLET = 'chain_id = $1 AND relayer = $2';
  return {
    /** Takes or renews the lease. @throws failure wallet-held while another run has it */
    async hold(): Promise<void> {
      const { rows } = await pool.query<{ held: boolean }>('SELECT kiff.hold_wallet($1, $2, $3, $4) AS held', [
        ...wallet,
        run,
        leaseSeconds,
      ]);
      if (rows[0]?.held !== true) throw failure('wallet-held');
    },

    /** Gives the lease up, so that the next run need not wait for it to run out. */
    async release(): Promise<void> {
      await pool.query('SELECT kiff.release_wallet($1, $2, $3)', [...wallet, run]);
    },

    /** The lowest nonce that is not mined. */
    async openNonce(): Promise<OpenNonce | null> {
      const { rows } = await pool.query<{
        nonce: number;
        kind: OpenNonce['kind'];
        to_address: Buffer;
        calldata: Buffer;
        gas: number;
        reopened_block: number | null;
      }>(
        `SELECT nonce, kind, to_address, calldata, gas, reopened_block FROM kiff.nonces
          WHERE ${OF_WALLET} AND state = 'open' ORDER BY nonce LIMIT 1`,
        [...wallet],
      );
      const row = rows[0];
      if (row === undefined) return null;
      return {
        nonce: row.nonce,
        kind: row.kind,
        to: toHex(row.to_address),
        data: toHex(row.calldata),
        gas: BigInt(row.gas),
        reopenedBlock: BigInt(row.reopened_block ?? 0),
      };
    },

    /** The highest nonce ever used here, and the highest block that one was mined in; null for a wallet without any. */
    async last(): Promise<{ nonce: number; minedBlock: bigint | null } | null> {
      const { rows } = await pool.query<{ nonce: number | null; block: number | null }>(
        `SELECT max(nonce) AS nonce, max(mined_block) AS block FROM kiff.nonces WHERE ${OF_WALLET}`,
        [...wallet],
      );
      const { nonce = null, block = null } = rows[0] ?? {};
      return nonce === null ? null : { nonce, minedBlock: block === null ? null : BigInt(block) };
    },

    async open(nonce: Omit<OpenNonce, 'reopenedBlock'>): Promise<void> {
      await pool.query('SELECT kiff.open_nonce($1, $2, $3, $4, $5, $6, $7, $8)', [
        ...wallet,
        run,
        ...nonceValues(nonce),
      ]);
    },

    /** Takes a transaction of ours in that this table does not know: its nonce, unless that is there, and its bytes. */
    async adopt(nonce: OpenNonce, transaction: SignedTransaction): Promise<void> {
      await pool.query('SELECT kiff.adopt_nonce($1, $2, $3, $4, $5, $6, $7, $8)', [
        ...wallet,
        run,
        ...nonceValues(nonce),
      ]);
      await this.store(nonce.nonce, transaction);
    },

    /** All transactions signed for a nonce, oldest first. */
    async transactions(nonce: number): Promise<SignedTransaction[]> {
      const { rows } = await pool.query<{
        hash: Buffer;
        raw: Buffer;
        max_fee_per_gas: string;
        max_priority_fee_per_gas: string;
        head_block: number;
      }>(
        `SELECT hash, raw, max_fee_per_gas, max_priority_fee_per_gas, head_block FROM kiff.transactions
          WHERE ${OF_WALLET} AND nonce = $3 ORDER BY signed_at, max_fee_per_gas`,
        [...wallet, nonce],
      );
      return rows.map((row) => ({
        hash: toHex(row.hash),
        raw: toHex(row.raw),
        maxFeePerGas: BigInt(row.max_fee_per_gas),
        maxPriorityFeePerGas: BigInt(row.max_priority_fee_per_gas),
        headBlock: BigInt(row.head_block),
      }));
    },

    async store(nonce: number, { hash, raw, ...offer }: SignedTransaction): Promise<void> {
      await pool.query('SELECT kiff.store_transaction($1, $2, $3, $4, $5, $6, $7, $8, $9)', [
        ...wallet,
        run,
        nonce,
        bytes(hash),
        bytes(raw),
        offer.maxFeePerGas.toString(),
        offer.maxPriorityFeePerGas.toString(),
        offer.headBlock.toString(),
      ]);
    },

    /** Nonces that were mined and are not final, lowest first. */
    async minedNonces(): Promise<MinedNonce[]> {
      const { rows } = await pool.query<{ nonce: number; mined_block_hash: Buffer | null; mined_block: number }>(
        `SELECT nonce, mined_block_hash, mined_block FROM kiff.nonces
          WHERE ${OF_WALLET} AND state = 'mined' ORDER BY nonce`,
        [...wallet],
      );
      return rows.map((row) => ({
        nonce: row.nonce,
        blockHash: row.mined_block_hash === null ? null : toHex(row.mined_block_hash),
        blockNumber: BigInt(row.mined_block),
      }));
    },

    async mined(nonce: number, { hash, block, cost }: Mined): Promise<void> {
      await pool.query('SELECT kiff.set_nonce_mined($1, $2, $3, $4, $5, $6, $7, $8)', [
        ...wallet,
        run,
        nonce,
        bytes(hash),
        block.number.toString(),
        bytes(block.hash),
        cost.toString(),
      ]);
    },

    /** A reorganisation took the transaction out of its block: the same bytes go out again. */
    async reopen(nonce: number, headBlock: bigint): Promise<void> {
      await pool.query('SELECT kiff.reopen_nonce($1, $2, $3, $4, $5)', [...wallet, run, nonce, headBlock.toString()]);
    },

    /** Nonces that were mined up to this block, and are below the count of transactions there, need no more watching. */
    async noncesFinal(block: bigint, counted: number): Promise<void> {
      await pool.query('SELECT kiff.set_nonces_final($1, $2, $3, $4, $5)', [...wallet, run, block.toString(), counted]);
    },

    /** The newest block that was final at the last look. */
    async finality(): Promise<BlockName | null> {
      const { rows } = await pool.query<{ final_block: number | null; final_hash: Buffer | null }>(
        `SELECT final_block, final_hash FROM kiff.wallets WHERE ${OF_WALLET}`,
        [...wallet],
      );
      const { final_block: number = null, final_hash: hash = null } = rows[0] ?? {};
      return number === null || hash === null ? null : { number: BigInt(number), hash: toHex(hash) };
    },

    async setFinality({ number, hash }: BlockName): Promise<void> {
      await pool.query('SELECT kiff.set_finality($1, $2, $3, $4, $5)', [
        ...wallet,
        run,
        number.toString(),
        bytes(hash),
      ]);
    },

    /** The block up to which all handovers' events are final and known; null before the first look. */
    async handoversBlock(): Promise<bigint | null> {
      const { rows } = await pool.query<{ handovers_block: number | null }>(
        `SELECT handovers_block FROM kiff.wallets WHERE ${OF_WALLET}`,
        [...wallet],
      );
      const block = rows[0]?.handovers_block ?? null;
      return block === null ? null : BigInt(block);
    },

    /** Takes in all events of handovers in final blocks up to `upto`. An acceptance among them is the cut-over. */
    async settleHandovers(events: readonly HandoverEvent[], upto: bigint): Promise<HandoverNews[]> {
      const { rows } = await pool.query<NewsRow>('SELECT * FROM kiff.settle_handovers($1, $2, $3, $4, $5)', [
        ...wallet,
        run,
        JSON.stringify(events.map(rowOf)),
        upto.toString(),
      ]);
      return rows.map(newsOf);
    },

    /** Handovers that were not accepted up to a final block of this time, and cannot be after it, are dead. */
    async lapseHandovers(block: bigint, time: bigint): Promise<void> {
      await pool.query('SELECT kiff.lapse_handovers($1, $2, $3, $4, $5)', [
        ...wallet,
        run,
        block.toString(),
        time.toString(),
      ]);
    },

    /** What transactions mined in the last 24 hours have cost. */
    async spending(): Promise<Spending> {
      const { rows } = await pool.query<{ day: string; hours: string; age: number }>(
        `SELECT coalesce(sum(cost), 0) AS day,
                coalesce(sum(cost) FILTER (WHERE mined_at > clock_timestamp() - interval '3 hours'), 0) AS hours,
                coalesce(extract(epoch FROM clock_timestamp() - min(mined_at)) / 3600, 0)::float8 AS age
           FROM kiff.nonces WHERE ${OF_WALLET} AND mined_at > clock_timestamp() - interval '24 hours'`,
        [...wallet],
      );
      const { day = '0', hours = '0', age = 0 } = rows[0] ?? {};
      return { lastDay: BigInt(day), lastHours: BigInt(hours), hoursOnRecord: age };
    },
  };
}

function nonceValues({ nonce, kind, to, data, gas }: Omit<OpenNonce, 'reopenedBlock'>): unknown[] {
  return [nonce, kind, bytes(to), bytes(data), gas.toString()];
}
