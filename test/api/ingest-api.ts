/** The ingest API of a test's own: real application, real HTTP, real Postgres; its log lines are kept. */
import assert from 'node:assert/strict';
import { Writable } from 'node:stream';
import { setImmediate as nextTurn } from 'node:timers/promises';
import pino from 'pino';
import { createApp } from '../../api/ingest/app.ts';
import type { BatchLimits } from '../../api/ingest/batcher.ts';
import { createPool } from '../../api/http/database.ts';
import { createKeyUses } from '../../api/ingest/key-uses.ts';
import { createPromiseSigner, type PromiseSigner } from '../../api/ingest/promise.ts';
import { createRefusals } from '../../api/ingest/refusals.ts';
import { createUsageCounts } from '../../api/ingest/usage-counts.ts';
import { startServer, type Timeouts } from '../../api/http/server.ts';
import { createTenantPools, type TenantPools } from '../../api/http/tenant-pools.ts';
import { tenantLogin } from '../../sql/login.ts';
import type { ProductDatabase } from '../product-database.ts';
import { bearer, createClient, type Answer, type Client } from './client.ts';
import { verifySession } from './session-tokens.ts';

export type { Answer } from './client.ts';

/** A stream is sent in chunks, without a length. */
type Body = string | Uint8Array | ReadableStream;

export interface IngestApi extends Client {
  url: string;
  promises: PromiseSigner;
  /** Every log line so far. */
  logged(): string;
  /** Lookups of API keys that reached the database. */
  keyLookups(): number;
  /** Questions of any kind that reached the directory. */
  directoryLookups(): number;
  post(apiKey: string | undefined, body: Body, headers?: Record<string, string>): Promise<Answer>;
  postLines(apiKey: string, body: Body): Promise<Answer>;
  /** Reports what is only counted in memory: uses of keys, refusals, usage. */
  report(): Promise<void>;
  pools: TenantPools;
  stop(): Promise<void>;
}

export interface IngestApiOptions {
  /** Unix milliseconds. */
  now?: () => number;
  batchLimits?: BatchLimits;
  contract?: `0x${string}`;
  databaseUrl?: string;
  timeouts?: Timeouts;
  otherPromiseKeys?: readonly `0x${string}`[];
  /** The database's own unless given. */
  incarnation?: string;
}

export async function startIngestApi(db: ProductDatabase, options: IngestApiOptions = {}): Promise<IngestApi> {
  const databaseUrl = options.databaseUrl ?? db.urls.kiff_api;
  const { incarnation = db.incarnation } = options;
  const directory = createPool({ url: databaseUrl, max: 2, name: 'test-ingest', incarnation });
  const strangers = createPool({ url: databaseUrl, max: 2, name: 'test-ingest-public', incarnation });
  const pools = createTenantPools({
    databaseUrl,
    login: (tenant, version) => tenantLogin(db.loginSecrets.tenant, tenant, version),
    name: 'test-ingest',
    incarnation,
  });
  const promises = createPromiseSigner(Buffer.alloc(32, 7));
  const lines: string[] = [];
  let keyLookups = 0;
  let directoryLookups = 0;
  const log = pino(
    { level: 'trace' },
    new Writable({
      write(chunk: Buffer, _encoding, done) {
        lines.push(chunk.toString());
        done();
      },
    }),
  );
  const now = options.now ?? Date.now;
  const keyUses = createKeyUses(directory, log);
  const refusals = createRefusals({ pools, log, now });
  const usageCounts = createUsageCounts({ pools, log, now });
  const app = createApp({
    directory: {
      query: ((...args: Parameters<typeof directory.query>) => {
        directoryLookups++;
        if (args[0].includes('find_api_key')) keyLookups++;
        return directory.query(...args);
      }) as typeof directory.query,
    },
    strangers,
    pools,
    verifySession,
    keyUses,
    refusals,
    usageCounts,
    promises,
    registry: { chainId: db.chainId, contract: options.contract ?? db.contract },
    log,
    now,
    ...(options.batchLimits && { batchLimits: options.batchLimits }),
    ...(options.otherPromiseKeys && { otherPromiseKeys: options.otherPromiseKeys }),
  });
  const server = await startServer(app, {
    host: '127.0.0.1',
    port: 0,
    ...(options.timeouts && { timeouts: options.timeouts }),
  });

  const client = await createClient(server.url);
  // Nothing that this helper did itself is left in the log.
  while (lines.length === 0) await nextTurn();
  lines.length = 0;

  const post: IngestApi['post'] = (apiKey, body, headers = { 'content-type': 'application/json' }) =>
    client.send('/v1/records', {
      method: 'POST',
      body: body as NonNullable<RequestInit['body']>,
      ...(body instanceof ReadableStream && { duplex: 'half' as const }),
      headers: { ...bearer(apiKey), ...headers },
    });
  return {
    ...client,
    url: server.url,
    pools,
    async report() {
      await Promise.all([keyUses.flush(), refusals.flush(true), usageCounts.flush()]);
    },
    promises,
    logged: () => lines.join(''),
    keyLookups: () => keyLookups,
    directoryLookups: () => directoryLookups,
    post,
    postLines: (apiKey, body) => post(apiKey, body, { 'content-type': 'application/x-ndjson' }),
    async stop() {
      await server.drain();
      await Promise.all([pools.close(), directory.end(), strangers.end(), promises.close()]);
    },
  };
}

/** A record as the KIFF framework writes it. */
export function recordText(id: string, more: Record<string, unknown> = {}): string {
  return JSON.stringify({
    id,
    kind: 'action_executed',
    entity_id: 'order-1',
    entity_type: 'order',
    created_at: '2026-01-02T03:04:05.678901234Z',
    ...more,
  });
}

/** An answer that is a problem document of this kind, in all its members. */
export function assertProblem(answer: Answer, status: number, slug: string): void {
  assert.deepEqual([answer.status, answer.json.type], [status, `https://kiff.dev/problems/${slug}`]);
  assert.match(answer.headers.get('content-type') ?? '', /^application\/problem\+json/);
  assert.equal(answer.json.status, status);
  assert.equal(answer.json.error, answer.json.detail);
  assert.equal(answer.json.requestId, answer.headers.get('x-request-id'));
}
