/** A log as its operator publishes it: C2SP tlog-tiles (c2sp.org/tlog-tiles). Every answer is bounded in time and size. */
import { bundlePath, decodeBundle, TILE_WIDTH, tilePath, type Tile, type TileRef } from '../../protocol/index.ts';
import { UsageError } from '../command.ts';

/** No answer, or none that could be one. */
export class PublicLogUnreachable extends Error {
  override readonly name = 'PublicLogUnreachable';
}

export interface PublicLog {
  /** The newest checkpoint, as text; null when there is none yet. */
  checkpoint(): Promise<string | null>;
  /** Tiles, with at least the hashes that each reference names. */
  tiles(references: readonly TileRef[]): Promise<Tile[]>;
  /** The first `width` entries (1…256) of the bundle beside tile `index` of level 0. Their hashes are not looked at. */
  entries(reference: Omit<TileRef, 'level'>): Promise<Uint8Array[]>;
}

const TIMEOUT_MS = 15_000;
const MAX_CHECKPOINT_BYTES = 64 * 1024;
const HASH_BYTES = 32;
/** 256 entries of 64 KiB, the most that the format has room for. */
const MAX_BUNDLE_BYTES = TILE_WIDTH * (2 + 0xffff);
const AT_ONCE = 8;

async function bytesOf(response: Response, most: number): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  let size = 0;
  for await (const part of response.body as unknown as AsyncIterable<Uint8Array>) {
    size += part.length;
    if (size > most) throw new PublicLogUnreachable(`an answer is larger than ${most} bytes`);
    parts.push(part);
  }
  return Buffer.concat(parts);
}

/**
 * Where the log is published whose origin is `<host>/<path>`.
 * @param base instead of `https://<host>`
 * @throws UsageError when the origin does not say, or the key would be sent in the clear
 */
export function publicLogUrl(origin: string, base: URL | undefined, key: string | undefined): string {
  const slash = origin.indexOf('/');
  if (slash < 1) throw new UsageError(`the origin ${origin} does not say where the log is published`);
  const root = base ?? new URL(`https://${origin.slice(0, slash)}`);
  const isHere = ['127.0.0.1', 'localhost', '[::1]'].includes(root.hostname);
  if (key !== undefined && root.protocol !== 'https:' && !isHere) {
    throw new UsageError('a key is not sent over http to another machine');
  }
  return `${root.href.replace(/\/$/, '')}${origin.slice(slash)}`;
}

/**
 * @param base the log's own URL, without a slash at its end
 * @param key an API key, for a log that is not public
 * @throws (from each call) PublicLogUnreachable
 */
export function createPublicLog(base: string, key: string | undefined): PublicLog {
  const get = async (path: string, most: number): Promise<Uint8Array | null> => {
    try {
      const response = await fetch(`${base}/${path}`, {
        redirect: 'error',
        signal: AbortSignal.timeout(TIMEOUT_MS),
        headers: key === undefined ? {} : { authorization: `Bearer ${key}` },
      });
      if (response.ok && response.body !== null) return await bytesOf(response, most);
      await response.body?.cancel();
      if (response.status === 404) return null;
      throw new PublicLogUnreachable(`it answered with HTTP status ${response.status}`);
    } catch (error) {
      if (error instanceof PublicLogUnreachable) throw error;
      const timedOut = error instanceof DOMException && error.name === 'TimeoutError';
      throw new PublicLogUnreachable(timedOut ? 'it did not answer in time' : 'it could not be reached', {
        cause: error,
      });
    }
  };

  const tile = async (reference: TileRef): Promise<Tile> => {
    const { level, index, width } = reference;
    const full = { ...reference, width: TILE_WIDTH };
    // A partial tile may be gone once its full one exists.
    const hashes =
      (await get(tilePath(reference), TILE_WIDTH * HASH_BYTES)) ??
      (width < TILE_WIDTH ? await get(tilePath(full), TILE_WIDTH * HASH_BYTES) : null);
    if (hashes === null) throw new PublicLogUnreachable(`it has no ${tilePath(reference)}`);
    if (hashes.length < width * HASH_BYTES || hashes.length % HASH_BYTES !== 0) {
      throw new PublicLogUnreachable(`${tilePath(reference)} has ${hashes.length} bytes`);
    }
    return { level, index, hashes };
  };

  const bundle = async ({ index, width }: Omit<TileRef, 'level'>): Promise<Uint8Array[]> => {
    let held = width;
    let bytes = await get(bundlePath({ index, width }), MAX_BUNDLE_BYTES);
    // As with tiles.
    if (bytes === null && width < TILE_WIDTH) {
      held = TILE_WIDTH;
      bytes = await get(bundlePath({ index, width: held }), MAX_BUNDLE_BYTES);
    }
    if (bytes === null) throw new PublicLogUnreachable(`it has no ${bundlePath({ index, width })}`);
    try {
      return decodeBundle(bytes, held).slice(0, width);
    } catch {
      throw new PublicLogUnreachable(`${bundlePath({ index, width })} is malformed`);
    }
  };

  return {
    entries: bundle,
    async checkpoint() {
      const bytes = await get('checkpoint', MAX_CHECKPOINT_BYTES);
      if (bytes === null) return null;
      try {
        return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
      } catch {
        throw new PublicLogUnreachable('its checkpoint is not text');
      }
    },
    async tiles(references) {
      const got: Tile[] = [];
      for (let from = 0; from < references.length; from += AT_ONCE) {
        got.push(...(await Promise.all(references.slice(from, from + AT_ONCE).map(tile))));
      }
      return got;
    },
  };
}
