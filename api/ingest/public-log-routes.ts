/**
 * /t/{log}/…: the log as existing transparency-log tools read it (c2sp.org/tlog-tiles), with proofs ready made beside it. `log`
 * is the end of the log's origin: a tenant for its first log, `<tenant>/2` for the next. Whatever no published checkpoint
 * covers is not there.
 */
import type { Response } from 'express';
import { z } from 'zod';
import type { Caller } from '../access/caller.ts';
import { parseIndexPath } from '../../protocol/tlog-tiles.ts';
import { operation, reply, replyBytes, type Operation } from '../http/operation.ts';
import { Problem } from '../http/problems.ts';
import { count, hex, wholeNumber } from '../http/shapes.ts';
import type { Queryable } from '../http/tenant-pools.ts';
import type { LogReaders } from './log-readers.ts';
import {
  proveConsistency,
  proveInclusion,
  readBundle,
  readCheckpoint,
  readEnd,
  readTile,
  type LogName,
} from './published.ts';

const LOG = /^([a-z][a-z0-9]{2,23})(?:\/([2-9]|[1-9]\d{1,8}))?$/;

const logName = z
  .string()
  .regex(LOG, 'must be a tenant, or a tenant and the number of a later log')
  .transform((text): LogName => {
    const [, tenant = '', ordinal = '1'] = LOG.exec(text) ?? [];
    return { tenant, ordinal: Number(ordinal) };
  })
  .describe('The end of the log’s origin: acme, or acme/2 for the log that came after it');

const ofLog = z.object({ log: logName });

/** `uint24` on chain. */
const MAX_SEQ = 2 ** 24 - 1;

/** Sizes and leaves beyond it are nobody's, and no integer of Postgres. */
const MAX_SIZE = 2 ** 48;

const LEVEL = /^(?:0|[1-9]\d?)$/;

const CONTENT = {
  note: 'text/plain; charset=utf-8',
  bytes: 'application/octet-stream',
} as const;

/** Seconds: what does not change is kept by caches for a year. The newest checkpoint is asked for again at once. */
const FOREVER = 'max-age=31536000, immutable';
const NEWEST = 'max-age=2';

const CACHED = { 'Cache-Control': 'A year, as it never changes; private unless the log is public.' };

const index = z.string().describe('The tile’s index: x001/x234/067, and .p/<W> behind it for a partial tile');

interface PublicLogDependencies {
  readers: LogReaders;
}

export function publicLogOperations({ readers }: PublicLogDependencies): Operation[] {
  interface Asked {
    caller: Caller | undefined;
    params: { log: LogName };
    response: Response;
  }

  /** Reads something that may not be there. @throws Problem not-found */
  async function readOne<T>(
    { caller, params: { log }, response }: Asked,
    work: (db: Queryable, log: LogName) => Promise<T | undefined>,
    freshness: (found: T) => typeof FOREVER | typeof NEWEST = () => FOREVER,
  ): Promise<{ found: T; headers: { 'Cache-Control': string; Vary: string } }> {
    const { found, isPublic } = await readers.read(caller, log, response, (db) => work(db, log));
    if (found === undefined) throw new Problem('not-found', 'No published checkpoint of this log covers that.');
    const headers = {
      'Cache-Control': `${isPublic ? 'public' : 'private'}, ${freshness(found)}`,
      Vary: 'Authorization',
    };
    return { found, headers };
  }

  const shared = {
    method: 'get',
    tag: 'Public log',
    access: { right: 'read-log', optional: true },
    problems: ['not-found', 'log-damaged', 'overloaded'],
  } as const;

  const note = (text: string, headers: Record<string, string>) =>
    replyBytes(200, Buffer.from(text), { headers: { ...headers, 'Content-Type': CONTENT.note } });

  return [
    operation({
      ...shared,
      id: 'getCheckpoint',
      path: '/t/{+log}/checkpoint',
      summary: 'The newest published checkpoint.',
      description:
        'A signed note (c2sp.org/tlog-checkpoint): origin, size and root; the operator’s Ed25519 signature under the origin as key name; and a line of a private type that carries the tenant’s seal over the same tree, once it is signed (docs/protocol.md, section 9).',
      params: ofLog,
      answers: { 200: { description: 'The checkpoint.', type: 'text/plain', schema: z.string() } },
      examples: { params: { log: 'acme' } },
      async handle(asked) {
        const { found, headers } = await readOne(
          asked,
          (db, log) => readCheckpoint(db, log, null),
          () => NEWEST,
        );
        return note(found.text, headers);
      },
    }),

    operation({
      ...shared,
      id: 'getCheckpointOfSeal',
      path: '/t/{+log}/checkpoint/{seq}',
      summary: 'The checkpoint of one seal: every period’s is kept.',
      params: ofLog.extend({ seq: wholeNumber(1) }),
      answers: {
        200: {
          description: 'The checkpoint.',
          type: 'text/plain',
          schema: z.string(),
          headers: { 'Cache-Control': 'A year once its seal is final; private unless the log is public.' },
        },
      },
      examples: { params: { log: 'acme', seq: '1' } },
      async handle(asked) {
        const { seq } = asked.params;
        const { found, headers } = await readOne(
          asked,
          async (db, log) => (seq > MAX_SEQ ? undefined : readCheckpoint(db, log, seq)),
          ({ final }) => (final ? FOREVER : NEWEST),
        );
        return note(found.text, headers);
      },
    }),

    // Before the tiles: `entries` is no level.
    operation({
      ...shared,
      id: 'getEntryBundle',
      path: '/t/{+log}/tile/entries/{+index}',
      summary: 'Entries: 256, or as many as a partial bundle has.',
      description:
        'Each entry behind its length, a big-endian uint16 (c2sp.org/tlog-tiles). Entries hold ids, times, ids of API keys and commitments; what a record says is not in them.',
      params: ofLog.extend({ index }),
      answers: {
        200: { description: 'The bundle.', type: CONTENT.bytes, schema: z.string(), headers: CACHED },
      },
      examples: { params: { log: 'acme', index: '000.p/1' } },
      async handle(asked) {
        const bundle = parseIndexPath(asked.params.index);
        const { found, headers } = await readOne(asked, async (db, log) => bundle && readBundle(db, log, bundle));
        return replyBytes(200, Buffer.from(found), { headers: { ...headers, 'Content-Type': CONTENT.bytes } });
      },
    }),

    operation({
      ...shared,
      id: 'getTile',
      path: '/t/{+log}/tile/{level}/{+index}',
      summary: 'A tile of the Merkle tree: 256 hashes, or as many as a partial tile has.',
      description:
        'Partial tiles stay where they are when their full one exists, so that a tool that began with an older checkpoint goes on with it.',
      params: ofLog.extend({ level: z.string().describe('0 to 63'), index }),
      answers: {
        200: { description: 'The tile.', type: CONTENT.bytes, schema: z.string(), headers: CACHED },
      },
      examples: { params: { log: 'acme', level: '0', index: '000.p/1' } },
      async handle(asked) {
        const { level } = asked.params;
        const place = LEVEL.test(level) ? parseIndexPath(asked.params.index) : undefined;
        const { found, headers } = await readOne(
          asked,
          async (db, log) => place && readTile(db, log, { level: Number(level), ...place }),
        );
        return replyBytes(200, found, { headers: { ...headers, 'Content-Type': CONTENT.bytes } });
      },
    }),

    operation({
      ...shared,
      id: 'getInclusionProof',
      path: '/t/{+log}/proof/inclusion',
      summary: 'That a leaf stands in a tree (RFC 9162 section 2.1.3).',
      params: ofLog,
      query: z.object({
        leaf: wholeNumber(0).describe('The leaf’s index'),
        size: wholeNumber(1).optional().describe('The tree’s size; the newest published one unless given'),
      }),
      answers: {
        200: {
          description: 'The proof. The root is to be compared with that of a checkpoint of this size.',
          schema: z
            .object({
              leafIndex: count,
              leafHash: hex(32),
              treeSize: count,
              inclusion: z.array(hex(32)),
              root: hex(32),
            })
            .meta({ id: 'InclusionProof' }),
        },
      },
      examples: { params: { log: 'acme' }, query: { leaf: '0' } },
      async handle(asked) {
        const { leaf, size } = asked.query;
        const { found, headers } = await readOne(asked, async (db, log) =>
          Math.max(leaf, size ?? 0) > MAX_SIZE ? undefined : proveInclusion(db, log, { leaf, size }),
        );
        return reply(200, found, { headers: { ...headers, ...(size === undefined && NOT_KEPT) } });
      },
    }),

    operation({
      ...shared,
      id: 'getConsistencyProof',
      path: '/t/{+log}/proof/consistency',
      summary: 'That a tree extends another one (RFC 9162 section 2.1.4).',
      params: ofLog,
      query: z.object({
        from: wholeNumber(1).describe('Size of the first tree; from size 0 there is nothing to prove'),
        to: wholeNumber(1).optional().describe('Size of the second tree; the newest published one unless given'),
      }),
      answers: {
        200: {
          description: 'The proof. Both roots are to be compared with those of checkpoints of these sizes.',
          schema: z
            .object({ size1: count, root1: hex(32), size2: count, root2: hex(32), proof: z.array(hex(32)) })
            .meta({ id: 'ConsistencyProof' }),
        },
      },
      examples: { params: { log: 'acme' }, query: { from: '1' } },
      async handle(asked) {
        const { from, to } = asked.query;
        const { found, headers } = await readOne(asked, async (db, log) =>
          Math.max(from, to ?? 0) > MAX_SIZE ? undefined : proveConsistency(db, log, { from, to }),
        );
        return reply(200, found, { headers: { ...headers, ...(to === undefined && NOT_KEPT) } });
      },
    }),

    operation({
      ...shared,
      id: 'getEnd',
      path: '/t/{+log}/end',
      summary: 'The operator’s signed statement that the log has ended; there is none while it goes on.',
      params: ofLog,
      answers: { 200: { description: 'The statement.', type: 'text/plain', schema: z.string(), headers: CACHED } },
      examples: { params: { log: 'acme' } },
      async handle(asked) {
        const { found, headers } = await readOne(asked, readEnd);
        return note(found, headers);
      },
    }),
  ];
}

/** What was asked for without a size changes with the next checkpoint. */
const NOT_KEPT = { 'Cache-Control': 'no-cache' };
