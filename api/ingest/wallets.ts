/** Wallet links in the database, by the tenant's own login. */
import type { Pool } from 'pg';
import pg from 'pg';
import { fromHex, toHex, type Hex } from '../../protocol/hex.ts';
import { tenantSchema } from '../../sql/login.ts';
import { Problem } from '../http/problems.ts';

type Queryable = Pick<Pool, 'query'>;

export interface WalletLink {
  /** As records name it in `actor_id`. */
  actor: string;
  wallet: Hex;
  linkedBy: string;
  linkedAt: Date;
}

/** Opens the user's one challenge. @returns until when it can be used */
export async function openChallenge(
  pool: Queryable,
  tenant: string,
  { nonce, actor, by }: { nonce: string; actor: string; by: string },
): Promise<Date> {
  const { rows } = await pool.query<{ until: Date }>(
    `SELECT ${tenantSchema(tenant)}.open_wallet_challenge($1, $2, $3) AS until`,
    [nonce, actor, by],
  );
  return rows[0]!.until;
}

/**
 * Uses the challenge up and links the wallet.
 * @returns when, or null when this user has no such open challenge for this actor
 * @throws Problem too-many-links
 */
export async function linkWallet(
  pool: Queryable,
  tenant: string,
  { nonce, actor, wallet, by }: { nonce: string; actor: string; wallet: Hex; by: string },
): Promise<Date | null> {
  try {
    const { rows } = await pool.query<{ at: Date | null }>(
      `SELECT ${tenantSchema(tenant)}.link_wallet($1, $2, $3, $4) AS at`,
      [nonce, actor, Buffer.from(fromHex(wallet, 20)), by],
    );
    return rows[0]?.at ?? null;
  } catch (error) {
    if (error instanceof pg.DatabaseError && error.code === 'KF062') {
      throw new Problem('too-many-links', 'A tenant may link 5,000 actors; remove one first.', { cause: error });
    }
    throw error;
  }
}

/** @returns whether there was a link */
export async function unlinkWallet(pool: Queryable, tenant: string, actor: string, by: string): Promise<boolean> {
  const { rows } = await pool.query<{ removed: boolean }>(
    `SELECT ${tenantSchema(tenant)}.unlink_wallet($1, $2) AS removed`,
    [actor, by],
  );
  return rows[0]?.removed === true;
}

export async function listWallets(pool: Queryable, tenant: string): Promise<WalletLink[]> {
  const { rows } = await pool.query<{ actor: string; wallet: Buffer; linked_by: string; linked_at: Date }>(
    `SELECT * FROM ${tenantSchema(tenant)}.list_wallet_links()`,
  );
  return rows.map((row) => ({
    actor: row.actor,
    wallet: toHex(row.wallet),
    linkedBy: row.linked_by,
    linkedAt: row.linked_at,
  }));
}
