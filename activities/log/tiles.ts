/** Tiles in the tenant's schema: reading what a proof needs, writing what an extension changed. */
import type { Pool } from 'pg';
import { HASH_SIZE } from '../../protocol/hash.ts';
import { equalBytes } from '../../protocol/hex.ts';
import { TILE_WIDTH, TileError, TileSet, type Tile, type TileId } from '../../protocol/tile.ts';
import { failure } from '../failures.ts';
import { byteaArray } from '../../sql/binary-array.ts';
import { tenantSchema } from '../../sql/login.ts';

/**
 * Reads tiles by name; one that is not there is simply absent from the set, and whoever needs it says so.
 * @throws failure tile-altered for one that is no row of hashes
 */
export async function readTiles(pool: Pool, tenantId: string, ids: readonly TileId[]): Promise<TileSet> {
  if (ids.length === 0) return new TileSet([]);
  const { rows } = await pool.query<{ level: number; index: number; hashes: Buffer }>(
    `SELECT t.level, t.index, t.hashes
       FROM unnest($1::smallint[], $2::bigint[]) AS u (level, index)
       JOIN ${tenantSchema(tenantId)}.tiles t USING (level, index)`,
    [ids.map((id) => id.level), ids.map((id) => id.index)],
  );
  return namingTiles(() => new TileSet(rows));
}

/** How large the stored tree is: each statement of `writeTiles` leaves a whole one. */
export async function storedSize(pool: Pool, tenantId: string): Promise<number> {
  const { rows } = await pool.query<{ index: number; width: number }>(
    `SELECT t.index, octet_length(t.hashes) / ${HASH_SIZE} AS width
       FROM ${tenantSchema(tenantId)}.tiles t WHERE t.level = 0 ORDER BY t.index DESC LIMIT 1`,
  );
  const last = rows[0];
  return last === undefined ? 0 : last.index * TILE_WIDTH + last.width;
}

/** Runs a computation on tiles; one that cannot be used is named. @throws failure tile-altered */
export function namingTiles<T>(compute: () => T): T {
  try {
    return compute();
  } catch (error) {
    if (error instanceof TileError) throw failure('tile-altered', { level: error.tile.level, index: error.tile.index });
    throw error;
  }
}

/** SQLSTATE of the trigger that keeps tiles from being rewritten. */
const TILE_REWRITTEN = 'KF031';

/**
 * Stores tiles in one statement, so that what is stored is always a whole tree of some size. A narrower version never
 * replaces a wider one, and a differing one is refused by the table.
 * @throws failure tile-altered
 */
export async function writeTiles(pool: Pool, tenantId: string, tiles: readonly Tile[]): Promise<void> {
  if (tiles.length === 0) return;
  try {
    await pool.query(
      `INSERT INTO ${tenantSchema(tenantId)}.tiles AS t (level, index, hashes)
     SELECT * FROM unnest($1::smallint[], $2::bigint[], $3::bytea[])
     ON CONFLICT (level, index) DO UPDATE SET hashes = excluded.hashes
       WHERE octet_length(excluded.hashes) > octet_length(t.hashes)
          OR substring(t.hashes FROM 1 FOR octet_length(excluded.hashes)) <> excluded.hashes`,
      [tiles.map((t) => t.level), tiles.map((t) => t.index), byteaArray(tiles.map((t) => t.hashes))],
    );
  } catch (error) {
    if ((error as { code?: unknown }).code === TILE_REWRITTEN) await requireTiles(pool, tenantId, tiles);
    throw error;
  }
}

/**
 * Requires that the stored tiles begin with these; a wider one is of a later extension.
 * @throws failure tile-altered, which names the first that does not
 */
export async function requireTiles(pool: Pool, tenantId: string, tiles: readonly Tile[]): Promise<void> {
  const stored = await readTiles(pool, tenantId, tiles);
  for (const { level, index, hashes } of tiles) {
    const width = hashes.length / HASH_SIZE;
    if (
      !equalBytes(
        namingTiles(() => stored.hashes({ level, index, width })),
        hashes,
      )
    ) {
      throw failure('tile-altered', { level, index });
    }
  }
}
