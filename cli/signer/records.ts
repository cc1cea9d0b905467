/**
 * The owner's own records, as a folder: what it posted, and what it was answered. Read again as it grows.
 *
 * `.json` files hold one object, `.ndjson` and `.jsonl` files one a line. Counted are records as they were posted (`id`, `kind`,
 * `entity_id`), the answers of `POST /v1/records` and promises (`leafIndex`, `leafHash`, `sealBy`), and receipts and lines of
 * bundles that hold a disclosure; everything else is passed over.
 */
import { createHash } from 'node:crypto';
import { readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { commit, fromHex, parseBody, parseEntry, toHex, type Hex } from '../../protocol/index.ts';
import { Held } from './verdict.ts';

interface Promised {
  readonly leafIndex: number;
  readonly leafHash: Hex;
  readonly sealBy: number;
}

export interface OwnRecords {
  /** Id → SHA-256 of the record's bytes; null where only an answer to it is there. */
  readonly ids: Map<string, string | null>;
  /** By leaf index. */
  readonly promised: Map<number, Promised>;
  /** What the service disclosed that is not what was posted, by id: a sentence. */
  readonly faults: Map<string, string>;
}

interface Seen {
  readonly size: number;
  readonly mtimeMs: number;
}

const FILES = /\.(json|ndjson|jsonl)$/;
const HASH = /^0x[0-9a-f]{64}$/;

const digestOf = (text: string): string => createHash('sha256').update(text).digest('hex');

/** @returns what the folder holds now; files that have not changed are not read again. @throws Held records-unreadable */
export function ownRecords(folder: string, origin: string): () => Promise<OwnRecords> {
  const seen = new Map<string, Seen>();
  const records: OwnRecords = { ids: new Map(), promised: new Map(), faults: new Map() };
  const disclosed = new Map<string, string>();

  function take(line: string): void {
    const text = line.trim();
    if (text === '') return;
    const value = JSON.parse(text) as unknown;
    if (typeof value !== 'object' || value === null) return;
    takePromise(value);
    const { entry, disclosure } = value as { entry?: unknown; disclosure?: unknown };
    if (typeof entry === 'string' && typeof disclosure === 'object' && disclosure !== null) {
      takeDisclosure(entry, disclosure);
      return;
    }
    const { id, kind, entity_id: entityId } = value as Record<string, unknown>;
    if (typeof id !== 'string') return;
    if (typeof kind === 'string' && typeof entityId === 'string') records.ids.set(id, digestOf(text));
    else if ('leafIndex' in value && !records.ids.has(id)) records.ids.set(id, null);
  }

  function takePromise(value: object): void {
    const promise = ('promise' in value ? value.promise : value) as Partial<Promised> & { origin?: unknown };
    if (typeof promise !== 'object' || promise === null || promise.origin !== origin) return;
    const { leafIndex, leafHash, sealBy } = promise;
    if (!Number.isSafeInteger(leafIndex) || !Number.isSafeInteger(sealBy) || !HASH.test(String(leafHash))) return;
    records.promised.set(leafIndex!, { leafIndex: leafIndex!, leafHash: leafHash!, sealBy: sealBy! });
  }

  /** The commitment ties the body to its entry; what the body says is then held against what was posted. */
  function takeDisclosure(entryText: string, { salt, body }: { salt?: unknown; body?: unknown }): void {
    if (typeof salt !== 'string' || typeof body !== 'string') return;
    const { id, commitment } = parseEntry(entryText);
    if (toHex(commit(fromHex(salt), Buffer.from(body))) !== `0x${commitment}`) {
      records.faults.set(id, 'its disclosure is not what its entry commits to');
      return;
    }
    disclosed.set(id, digestOf(parseBody(body).recordText));
  }

  function compare(): void {
    for (const [id, digest] of disclosed) {
      const own = records.ids.get(id);
      if (own != null && own !== digest) records.faults.set(id, 'the log holds other bytes than were posted');
    }
  }

  return async () => {
    try {
      for (const name of (await readdir(folder, { recursive: true })).filter((file) => FILES.test(file)).toSorted()) {
        const path = join(folder, name);
        const { size, mtimeMs } = await stat(path);
        const known = seen.get(path);
        if (known?.size === size && known.mtimeMs === mtimeMs) continue;
        const text = await readFile(path, 'utf8');
        // A last line without its end is still being written.
        const lines = name.endsWith('.json') ? [text] : text.split('\n').slice(0, -1);
        for (const line of lines) take(line);
        seen.set(path, { size, mtimeMs });
      }
    } catch (error) {
      const why = error instanceof Error ? error.message : 'unreadable';
      throw new Held('records-unreadable', `the records in ${folder}: ${why}`);
    }
    compare();
    return records;
  };
}
