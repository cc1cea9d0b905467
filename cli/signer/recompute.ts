/**
 * The leaves of a tree that is about to be sealed, held against the owner's own records: each new leaf is one that the owner posted, in the
 * place and with the hash that it was promised, and none that was promised for this period is missing. What a commitment hides is
 * known from the receipts on, which come with the seal: a disclosure that differs from what was posted refuses the seals after it.
 */
import { hashLeaf } from '../../protocol/hash.ts';
import { parseEntry, sealBy, TILE_WIDTH, toHex } from '../../protocol/index.ts';
import { extendTiles } from '../../protocol/extend.ts';
import { edgeTiles, TileSet } from '../../protocol/tile.ts';
import type { Tree } from '../monitor/memory.ts';
import { PublicLogUnreachable, type PublicLog } from '../monitor/public-log.ts';
import type { OwnRecords } from './records.ts';
import { Held, Refused } from './verdict.ts';

/** The id of the key under which the service writes records itself. */
const SERVICE = 'kiff';

/**
 * @param periodSeconds of the contract
 * @returns compares the leaves from `from` on, up to `tree`, at the seal of `period`
 */
export function createRecompute(
  published: Pick<PublicLog, 'tiles' | 'entries'>,
  read: () => Promise<OwnRecords>,
  periodSeconds: number,
): (from: number, tree: Tree, period: number) => Promise<void> {
  return async (from, tree, period) => {
    const own = await read();
    const entries = await newEntries(published, from, tree);
    for (const [at, entry] of entries.entries()) requireOwn(own, from + at, entry);
    const [fault] = own.faults;
    if (fault !== undefined) throw new Refused('records-differ', `record ${fault[0]}: ${fault[1]}`);
    const due = sealBy(period, periodSeconds);
    for (const { leafIndex, sealBy: by } of own.promised.values()) {
      if (by <= due && leafIndex >= tree.size) {
        throw new Refused('records-differ', `leaf ${leafIndex} was promised for this seal, and is not in it`);
      }
    }
  };
}

/** The entries behind the leaves, which are the tree's: hashed here, they lead from what was sealed to its root. */
async function newEntries(
  published: Pick<PublicLog, 'tiles' | 'entries'>,
  from: number,
  tree: Tree,
): Promise<Uint8Array[]> {
  const entries: Uint8Array[] = [];
  try {
    const growing = extendTiles(from, new TileSet(await published.tiles(edgeTiles(from))));
    for (let index = Math.floor(from / TILE_WIDTH); index * TILE_WIDTH < tree.size; index++) {
      const begin = index * TILE_WIDTH;
      const bundle = await published.entries({ index, width: Math.min(TILE_WIDTH, tree.size - begin) });
      const fresh = bundle.slice(Math.max(0, from - begin));
      growing.append(fresh.map((entry) => hashLeaf(entry)));
      growing.drain();
      entries.push(...fresh);
    }
    if (toHex(growing.root()) !== tree.root) {
      throw new Refused('records-differ', 'the published entries are not those of its tree');
    }
  } catch (error) {
    if (error instanceof PublicLogUnreachable) throw new Held('log-unreachable', `the published log: ${error.message}`);
    throw error;
  }
  return entries;
}

function requireOwn({ ids, promised }: OwnRecords, leafIndex: number, entry: Uint8Array): void {
  const promise = promised.get(leafIndex);
  if (promise !== undefined && promise.leafHash !== toHex(hashLeaf(entry))) {
    throw new Refused('records-differ', `leaf ${leafIndex} is not the one that was promised`);
  }
  const { id, key } = entryOf(entry, leafIndex);
  if (key !== SERVICE && !ids.has(id)) {
    throw new Refused('records-differ', `leaf ${leafIndex} is a record ${id}, which is none of yours`);
  }
}

function entryOf(entry: Uint8Array, leafIndex: number): ReturnType<typeof parseEntry> {
  try {
    return parseEntry(Buffer.from(entry).toString('utf8'));
  } catch {
    throw new Refused('records-differ', `leaf ${leafIndex} is no entry`);
  }
}
