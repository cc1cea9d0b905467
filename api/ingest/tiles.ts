/** Stored tiles, as proofs and bundles are made from them. */
import type { Pool } from 'pg';
import { TileError, TileSet, type TileRef } from '../../protocol/tile.ts';
import { Problem } from '../http/problems.ts';

/**
 * What `compute` makes of stored tiles.
 * @throws Problem log-damaged when they are missing or damaged
 */
export async function fromTiles<T>(
  db: Pick<Pool, 'query'>,
  schema: string,
  needed: readonly TileRef[],
  compute: (tiles: TileSet) => T,
): Promise<T> {
  const { rows } = await db.query<{ level: number; index: number; hashes: Buffer }>(
    `SELECT t.level, t.index, t.hashes
       FROM unnest($1::smallint[], $2::bigint[]) AS u (level, index)
       JOIN ${schema}.tiles t USING (level, index)`,
    [needed.map((tile) => tile.level), needed.map((tile) => tile.index)],
  );
  try {
    return compute(new TileSet(rows));
  } catch (error) {
    if (error instanceof TileError) throw damaged(error);
    throw error;
  }
}

export function damaged(cause?: unknown): Problem {
  return new Problem('log-damaged', 'The stored log does not lead to its sealed root; nothing false is handed out.', {
    cause,
  });
}
