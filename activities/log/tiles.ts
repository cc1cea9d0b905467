/** Tiles in the tenant's schema: reading what a proof needs, writing what an extension changed. */
import type { Pool, PoolClient } from 'pg';
import { TileSet, type Tile, type TileId } from '../../protocol/tile.ts';
import { tenantSchema } from '../../sql/login.ts';

/** Reads tiles by name; one that is not there is simply absent from the set, and whoever needs it says so. */
export async function readTiles(pool: Pool, tenantId: string, ids: readonly TileId[]): Promise<TileSet> {
  if (ids.length === 0) return new TileSet([]);
  const { rows } = await pool.query<{ level: number; index: number; hashes: Buffer }>(
    `SELECT t.level, t.index, t.hashes
       FROM unnest($1::smallint[], $2::bigint[]) AS u (level, index)
       JOIN ${tenantSchema(tenantId)}.tiles t USING (level, index)`,
    [ids.map((id) => id.level), ids.map((id) => id.index)],
  );
  return new TileSet(rows);
}

/**
 * Stores tiles in one statement, so that what is stored is always a whole tree of some size. A narrower version never
 * replaces a wider one, and a differing one is refused by the table (SQLSTATE KF031).
 */
export async function writeTiles(client: Pool | PoolClient, tenantId: string, tiles: readonly Tile[]): Promise<void> {
  if (tiles.length === 0) return;
  await client.query(
    `INSERT INTO ${tenantSchema(tenantId)}.tiles AS t (level, index, hashes)
     SELECT * FROM unnest($1::smallint[], $2::bigint[], $3::bytea[])
     ON CONFLICT (level, index) DO UPDATE SET hashes = excluded.hashes
       WHERE octet_length(excluded.hashes) > octet_length(t.hashes)
          OR substring(t.hashes FROM 1 FOR octet_length(excluded.hashes)) <> excluded.hashes`,
    [tiles.map((t) => t.level), tiles.map((t) => t.index), tiles.map((t) => Buffer.from(t.hashes))],
  );
}
