/** A tenant's API keys in the database: made, listed and revoked by the tenant's own login. */
import type { Pool } from 'pg';
import pg from 'pg';
import { tenantSchema } from '../../sql/login.ts';
import { Problem } from '../http/problems.ts';
import { createApiKey } from './api-key.ts';

type Queryable = Pick<Pool, 'query'>;

export interface KeyTerms {
  label: string;
  scopes: readonly string[];
  expiresAt: Date | null;
}

/** A key that is not revoked, without its secret. */
export interface ListedKey extends KeyTerms {
  id: string;
  createdAt: Date;
  /** A user's id, or `operator`. */
  createdBy: string;
  /** To within a minute or so. */
  lastUsedAt: Date | null;
}

/**
 * @param by the acting user's id
 * @returns the key itself too: only now, and never again
 * @throws Problem too-many-keys
 */
export async function makeKey(
  pool: Queryable,
  tenant: string,
  { label, scopes, expiresAt }: KeyTerms,
  by: string,
): Promise<{ id: string; key: string; createdAt: Date }> {
  const { id, key, hash } = createApiKey(tenant);
  try {
    const { rows } = await pool.query<{ at: Date }>(
      `SELECT ${tenantSchema(tenant)}.create_api_key($1, $2, $3, $4::text[], $5::timestamptz, $6) AS at`,
      [id, hash, label, scopes, expiresAt, by],
    );
    return { id, key, createdAt: rows[0]!.at };
  } catch (error) {
    if (error instanceof pg.DatabaseError && error.code === 'KF061') {
      throw new Problem('too-many-keys', 'A tenant may have 100 keys; revoke one first.', { cause: error });
    }
    throw error;
  }
}

/** The keys that are not revoked, the oldest first. */
export async function listKeys(pool: Queryable, tenant: string): Promise<ListedKey[]> {
  const { rows } = await pool.query<{
    id: string;
    label: string;
    scopes: string[];
    created_at: Date;
    created_by: string;
    expires_at: Date | null;
    last_used_at: Date | null;
  }>(`SELECT * FROM ${tenantSchema(tenant)}.list_api_keys()`);
  return rows.map((row) => ({
    id: row.id,
    label: row.label,
    scopes: row.scopes,
    createdAt: row.created_at,
    createdBy: row.created_by,
    expiresAt: row.expires_at,
    lastUsedAt: row.last_used_at,
  }));
}

/** @returns when it was revoked, now or before; null when the tenant has no such key */
export async function revokeKey(pool: Queryable, tenant: string, id: string, by: string): Promise<Date | null> {
  const { rows } = await pool.query<{ at: Date | null }>(
    `SELECT ${tenantSchema(tenant)}.revoke_api_key($1, $2) AS at`,
    [id, by],
  );
  return rows[0]?.at ?? null;
}
