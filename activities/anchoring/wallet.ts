/**
 * The relayer's wallet in the database: the lease, the nonces, and every transaction ever signed. A transaction's bytes
 * are stored before anybody sees them, so that whatever dies, they are found again and nothing else is ever sent.
 */
import type { Pool } from 'pg';
import { fromHex, toHex, type Hex } from '../../protocol/hex.ts';
import { failure } from '../failures.ts';
import type { Fees } from './fees.ts';

/** A lease outlives any single step; its holder renews it with every step. */
const LEASE_SECONDS = 60;

export interface OpenNonce {
  nonce: number;
  kind: 'register' | 'anchor';
  to: Hex;
  data: Hex;
  gas: bigint;
}

export interface SignedTransaction extends Fees {
  hash: Hex;
  raw: Hex;
  signedAt: Date;
}

export interface MinedNonce {
  nonce: number;
  hash: Hex;
}

const bytes = (hex: Hex): Buffer => Buffer.from(fromHex(hex));

export type Wallet = ReturnType<typeof createWallet>;

/** One wallet, seen by one workflow run. Every write is refused (`wallet-held`) unless that run holds the lease. */
export function createWallet(pool: Pool, chainId: number, relayer: Hex, run: string) {
  const wallet = [chainId, bytes(relayer)] as const;
  return {
    /** Takes or renews the lease. @throws failure wallet-held while another run has it */
    async hold(): Promise<void> {
      const { rows } = await pool.query<{ held: boolean }>('SELECT kiff.hold_wallet($1, $2, $3, $4) AS held', [
        ...wallet,
        run,
        LEASE_SECONDS,
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
      }>(
        `SELECT nonce, kind, to_address, calldata, gas FROM kiff.nonces
          WHERE chain_id = $1 AND relayer = $2 AND state = 'open' ORDER BY nonce LIMIT 1`,
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
      };
    },

    /** The highest nonce ever used here, or null. */
    async lastNonce(): Promise<number | null> {
      const { rows } = await pool.query<{ nonce: number | null }>(
        'SELECT max(nonce) AS nonce FROM kiff.nonces WHERE chain_id = $1 AND relayer = $2',
        [...wallet],
      );
      return rows[0]?.nonce ?? null;
    },

    async open(nonce: OpenNonce): Promise<void> {
      await pool.query('SELECT kiff.open_nonce($1, $2, $3, $4, $5, $6, $7, $8)', [
        ...wallet,
        run,
        nonce.nonce,
        nonce.kind,
        bytes(nonce.to),
        bytes(nonce.data),
        nonce.gas.toString(),
      ]);
    },

    /** All transactions signed for a nonce, oldest first. */
    async transactions(nonce: number): Promise<SignedTransaction[]> {
      const { rows } = await pool.query<{
        hash: Buffer;
        raw: Buffer;
        max_fee_per_gas: string;
        max_priority_fee_per_gas: string;
        signed_at: Date;
      }>(
        `SELECT hash, raw, max_fee_per_gas, max_priority_fee_per_gas, signed_at FROM kiff.transactions
          WHERE chain_id = $1 AND relayer = $2 AND nonce = $3 ORDER BY signed_at, max_fee_per_gas`,
        [...wallet, nonce],
      );
      return rows.map((row) => ({
        hash: toHex(row.hash),
        raw: toHex(row.raw),
        maxFeePerGas: BigInt(row.max_fee_per_gas),
        maxPriorityFeePerGas: BigInt(row.max_priority_fee_per_gas),
        signedAt: row.signed_at,
      }));
    },

    async store(nonce: number, hash: Hex, raw: Hex, fees: Fees): Promise<void> {
      await pool.query('SELECT kiff.store_transaction($1, $2, $3, $4, $5, $6, $7, $8)', [
        ...wallet,
        run,
        nonce,
        bytes(hash),
        bytes(raw),
        fees.maxFeePerGas.toString(),
        fees.maxPriorityFeePerGas.toString(),
      ]);
    },

    /** Nonces that were mined and are not final, lowest first. */
    async minedNonces(): Promise<MinedNonce[]> {
      const { rows } = await pool.query<{ nonce: number; mined_hash: Buffer }>(
        `SELECT nonce, mined_hash FROM kiff.nonces
          WHERE chain_id = $1 AND relayer = $2 AND state = 'mined' ORDER BY nonce`,
        [...wallet],
      );
      return rows.map((row) => ({ nonce: row.nonce, hash: toHex(row.mined_hash) }));
    },

    async mined(nonce: number, hash: Hex, block: bigint): Promise<void> {
      await pool.query('SELECT kiff.set_nonce_mined($1, $2, $3, $4, $5, $6)', [
        ...wallet,
        run,
        nonce,
        bytes(hash),
        block.toString(),
      ]);
    },

    /** A reorg took the transaction out of its block: the same bytes go out again. */
    async reopen(nonce: number): Promise<void> {
      await pool.query('SELECT kiff.set_nonce_mined($1, $2, $3, $4, NULL, NULL)', [...wallet, run, nonce]);
    },

    async final(block: bigint): Promise<void> {
      await pool.query('SELECT kiff.set_nonces_final($1, $2, $3, $4)', [...wallet, run, block.toString()]);
    },
  };
}
