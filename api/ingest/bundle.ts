/** Pages of a bundle (`kiff.bundle/1`): lines as they stand in the file, so that pages behind each other are the bundle. */
import type { Pool } from 'pg';
import type { BundleHeader, BundleLine } from '../../protocol/bundle.ts';
import type { Registry } from '../../protocol/eip712.ts';
import { toHex } from '../../protocol/hex.ts';
import type { AnchoredHandover, SignedSeal } from '../../protocol/receipt.ts';
import { rootNodes } from '../../protocol/subtree.ts';
import { tilesForNodes } from '../../protocol/tile.ts';
import { Problem } from '../http/problems.ts';
import type { LogIdentity } from './log-identity.ts';
import { anchorOf, findSeal, listSeals, type SealRow } from './seals.ts';
import { damaged, fromTiles } from './tiles.ts';

/** Where a page begins: at an entry of a seal, or (with `leaf` null) at the seal itself. */
interface BundleCursor {
  readonly seq: number;
  readonly leaf: number | null;
}

/** First seconds of the first and the last period. */
export interface BundleSpan {
  readonly from: number;
  readonly to: number;
}

export interface BundlePage {
  readonly lines: Buffer;
  /** Null behind the last line. */
  readonly next: BundleCursor | null;
}

/** Lines and bytes after which a page ends; a record of 64 KiB may be a line of 400 KB. */
const PAGE_LINES = 1_000;
const PAGE_BYTES = 4 * 1024 * 1024;

type Db = Pick<Pool, 'query'>;

/**
 * What a bundle of these periods covers: from the first seal's period unless given, to the last final one's (while none is
 * final, the last signed one's). Times are cut to the periods that they lie in, and no period is claimed that is not over.
 * @throws Problem not-found when the log has no signed seal, or none of that time
 */
export async function bundleSpan(
  db: Db,
  log: LogIdentity,
  asked: { from: number | undefined; to: number | undefined },
  now: number,
): Promise<BundleSpan> {
  const { rows } = await db.query<{ first: number | null; last: number | null }>(
    `SELECT (SELECT period FROM ${log.schema}.seals ORDER BY seq LIMIT 1) AS first,
            coalesce((SELECT period FROM ${log.schema}.seals WHERE level = 'final' ORDER BY seq DESC LIMIT 1),
                     (SELECT period FROM ${log.schema}.seals WHERE signature IS NOT NULL ORDER BY seq DESC LIMIT 1)) AS last`,
  );
  const { first, last } = rows[0] ?? { first: null, last: null };
  if (first === null || last === null) throw new Problem('not-found', 'This log has no signed seal yet.');
  const P = log.periodSeconds;
  const periodAt = (seconds: number): number => seconds - (seconds % P);
  const from = asked.from === undefined ? first : Math.max(first, periodAt(asked.from));
  const over = periodAt(Math.floor(now / 1000)) - P;
  const to = asked.to === undefined ? last : Math.min(over, periodAt(asked.to));
  if (to < from) throw new Problem('not-found', 'This log has no seals of that time.');
  return { from, to };
}

/** A seal in the form that receipts and bundles have, or undefined before it is signed. */
function signedSeal(row: SealRow, log: LogIdentity): SignedSeal | undefined {
  const { seq, period, tree_size: treeSize, root, prev, signer, epoch, signature } = row;
  if (root === null || prev === null || signer === null || epoch === null || signature === null) return undefined;
  return {
    logId: log.logId,
    seq,
    period,
    treeSize,
    root: toHex(root),
    prev: toHex(prev),
    signer: toHex(signer),
    epoch,
    signature: toHex(signature),
  };
}

const lineOf = (line: BundleLine | BundleHeader): string => `${JSON.stringify(line)}\n`;

/** The complete subtrees under a tree's root. @throws Problem log-damaged */
async function treeNodes(db: Db, schema: string, size: number): Promise<Uint8Array[]> {
  const nodes = rootNodes(size);
  return fromTiles(db, schema, tilesForNodes(nodes, size), (tiles) => nodes.map((node) => tiles.nodeHash(node)));
}

interface EntryRow {
  entry: Buffer;
  salt: Buffer | null;
  body: Buffer | null;
}

/** Entries from a leaf on, as many as a page takes; one at least, if there is any. */
async function readEntries(
  db: Db,
  schema: string,
  { from, to, bodies }: { from: number; to: number; bodies: boolean },
): Promise<EntryRow[]> {
  const { rows } = await db.query<EntryRow>(
    bodies
      ? `SELECT entry, salt, body FROM (
           SELECT r.leaf_index, r.entry, b.salt, b.body,
                  sum(octet_length(r.entry) + coalesce(octet_length(b.body), 0)) OVER (ORDER BY r.leaf_index) AS bytes
             FROM ${schema}.records r LEFT JOIN ${schema}.bodies b USING (leaf_index)
            WHERE r.leaf_index >= $1 AND r.leaf_index < $2 ORDER BY r.leaf_index) p
          WHERE bytes <= $3 OR leaf_index = $1 ORDER BY leaf_index`
      : `SELECT entry, NULL::bytea AS salt, NULL::bytea AS body FROM ${schema}.records
          WHERE leaf_index >= $1 AND leaf_index < $2 ORDER BY leaf_index`,
    bodies ? [from, to, PAGE_BYTES] : [from, to],
  );
  return rows;
}

function entryLine({ entry, salt, body }: EntryRow): string {
  const disclosure = salt === null || body === null ? null : { salt: toHex(salt), body: body.toString('utf8') };
  return lineOf({ entry: entry.toString('utf8'), disclosure });
}

/** What a page is made for. */
export interface PageOrder {
  readonly span: BundleSpan;
  /** Undefined: the bundle's beginning. */
  readonly cursor: BundleCursor | undefined;
  /** Whether records are disclosed: their salts and bodies, as far as they were not erased. */
  readonly bodies: boolean;
}

/**
 * Makes one page. Seals that are not signed are left out: they would prove nothing yet.
 * @throws Problem log-damaged when what is stored cannot be whole
 */
export async function bundlePage(
  db: Db,
  log: LogIdentity,
  registry: Registry,
  handovers: readonly AnchoredHandover[],
  order: PageOrder,
): Promise<BundlePage> {
  const { span, bodies } = order;
  const lines: string[] = [];
  const cursor = order.cursor ?? (await beginning(db, log, registry, handovers, span, lines));
  if (cursor === undefined) return page([...lines, lineOf({ seals: 0, entries: 0 })], null);

  const before = cursor.seq === 1 ? undefined : await findSeal(db, log.schema, cursor.seq - 1);
  let leaf = cursor.leaf ?? before?.tree_size ?? 0;
  let begun = cursor.leaf !== null;
  const rows = await listSeals(db, log.schema, { after: cursor.seq - 1, limit: PAGE_LINES });
  const seals = rows.filter(({ period, signature }) => period <= span.to && signature !== null);
  const entries = await readEntries(db, log.schema, {
    from: leaf,
    to: Math.min(leaf + PAGE_LINES, seals.at(-1)?.tree_size ?? leaf),
    bodies,
  });

  let taken = 0;
  for (const [index, row] of seals.entries()) {
    if (lines.length >= PAGE_LINES) return page(lines, { seq: row.seq, leaf: begun ? leaf : null });
    if (!begun) {
      const epochBefore = index === 0 ? (before?.epoch ?? 0) : (seals[index - 1]?.epoch ?? 0);
      for (const handover of handovers.slice(epochBefore, row.epoch ?? 0)) lines.push(lineOf({ handover }));
      lines.push(lineOf({ seal: signedSeal(row, log)!, checkpoint: row.checkpoint, anchor: anchorOf(row) }));
    }
    const here = entries.slice(taken, taken + row.tree_size - leaf);
    for (const entry of here) lines.push(entryLine(entry));
    taken += here.length;
    leaf += here.length;
    if (leaf < row.tree_size) {
      // A leaf that is not stored would have a reader ask for it for ever.
      if (entries.length === 0) throw damaged();
      return page(lines, { seq: row.seq, leaf });
    }
    begun = false;
  }
  const last = seals.at(-1);
  if (last !== undefined && rows.length === PAGE_LINES && seals.length === rows.length) {
    return page(lines, { seq: last.seq + 1, leaf: null });
  }
  lines.push(...(await ending(db, log, span, last?.seq ?? cursor.seq - 1)));
  return page(lines, null);
}

function page(lines: readonly string[], next: BundleCursor | null): BundlePage {
  return { lines: Buffer.from(lines.join('')), next };
}

/** Writes what stands before the first seal; returns where that is, or undefined when there is none. */
async function beginning(
  db: Db,
  log: LogIdentity,
  registry: Registry,
  handovers: readonly AnchoredHandover[],
  { from, to }: BundleSpan,
  lines: string[],
): Promise<BundleCursor | undefined> {
  const { origin, genesisSigner, periodSeconds } = log;
  const { chainId, contract } = registry;
  lines.push(
    lineOf({
      format: 'kiff.bundle/1',
      origin,
      genesisSigner,
      registry: { chainId, contract },
      periodSeconds,
      from,
      to,
    }),
  );
  const { rows } = await db.query<{ seq: number }>(
    `SELECT seq FROM ${log.schema}.seals
      WHERE period >= $1 AND period <= $2 AND signature IS NOT NULL ORDER BY period LIMIT 1`,
    [from, to],
  );
  const seq = rows[0]?.seq;
  if (seq === undefined) return undefined;
  if (seq > 1) {
    const row = await findSeal(db, log.schema, seq - 1);
    const base = row && signedSeal(row, log);
    if (row === undefined || base === undefined) throw damaged();
    for (const handover of handovers.slice(0, base.epoch)) lines.push(lineOf({ handover }));
    const nodes = await treeNodes(db, log.schema, base.treeSize);
    lines.push(lineOf({ base, nodes: nodes.map((node) => toHex(node)), anchor: anchorOf(row) }));
  }
  return { seq, leaf: null };
}

/** The last lines: how the log ended, if these seals are its last, and how many seals and entries there were. */
async function ending(db: Db, log: LogIdentity, { from }: BundleSpan, lastSeq: number): Promise<string[]> {
  const { rows } = await db.query<{ seals: number; entries: number; more: boolean }>(
    `SELECT count(*)::int AS seals,
            coalesce(max(tree_size), 0) - coalesce(
              (SELECT max(tree_size) FROM ${log.schema}.seals WHERE period < $1 AND seq <= $2), 0) AS entries,
            EXISTS (SELECT FROM ${log.schema}.seals WHERE seq > $2 AND signature IS NOT NULL) AS more
       FROM ${log.schema}.seals WHERE period >= $1 AND seq <= $2`,
    [from, lastSeq],
  );
  const { seals = 0, entries = 0, more = false } = rows[0] ?? {};
  return [...(log.end === null || more ? [] : [lineOf({ end: log.end })]), lineOf({ seals, entries })];
}
