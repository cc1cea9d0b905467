/** The ingest API as a process of its own, as it is deployed: to be stopped, frozen and killed. */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startProcess } from '../../dev/process.ts';
import { packageRoot } from '../../dev/root.ts';
import type { ProductDatabase, TestTenant } from '../product-database.ts';
import { recordText } from './ingest-api.ts';
import { JWT_KEY, PARTY } from './session-tokens.ts';

export interface ApiProcess {
  url: string;
  /** Posts records (one as JSON, several as NDJSON), given as their ids. @throws when the connection breaks */
  post(tenant: TestTenant, ...ids: string[]): Promise<{ status: number; retryAfter: string | null; lines: Line[] }>;
  signal(signal: 'SIGSTOP' | 'SIGKILL'): void;
  /** Everything that it logged. */
  logged(): string;
  /** Ends it, whatever state it is in, and removes its log. */
  stop(): Promise<void>;
}

/** What the API says of one record. */
interface Line {
  id: string;
  status: string;
  leafIndex: number;
  leafHash: string;
  receivedAt: string;
}

/** What it is told of its database. */
export type ApiDatabase = Pick<ProductDatabase, 'incarnation' | 'chainId' | 'contract'> & {
  urls: { kiff_api: string };
  loginSecrets: { tenant: Buffer };
};

/** @param more variables besides those that it needs */
export async function startApiProcess(db: ApiDatabase, more: Record<string, string> = {}): Promise<ApiProcess> {
  const directory = mkdtempSync(join(tmpdir(), 'kiff-cloud-api-'));
  const logFile = join(directory, 'api.log');
  const running = await startProcess({
    name: 'ingest API',
    entry: join(packageRoot, 'dist/api/ingest/main.js'),
    env: {
      DATABASE_URL: db.urls.kiff_api,
      KIFF_INCARNATION: db.incarnation,
      TENANT_LOGIN_SECRET: db.loginSecrets.tenant.toString('hex'),
      PROMISE_KEY: '11'.repeat(32),
      API_PORT: '0',
      CHAIN_ID: String(db.chainId),
      CONTRACT: db.contract,
      CLERK_JWT_KEY: JWT_KEY,
      CLERK_AUTHORIZED_PARTIES: PARTY,
      ...more,
    },
    logFile,
    ready: /listening on http\S+\n/,
  });
  const logged = (): string => readFileSync(logFile, 'utf8');
  const url = /listening on (http\S+)\n/.exec(logged())![1]!;
  return {
    url,
    async post(tenant, ...ids) {
      const response = await fetch(`${url}/v1/records`, {
        method: 'POST',
        body: ids.map((id) => recordText(id)).join('\n'),
        headers: {
          authorization: `Bearer ${tenant.apiKey}`,
          'content-type': ids.length === 1 ? 'application/json' : 'application/x-ndjson',
        },
      });
      const text = await response.text();
      const lines = response.ok ? text.trimEnd().split('\n') : [];
      return {
        status: response.status,
        retryAfter: response.headers.get('retry-after'),
        lines: lines.map((line) => JSON.parse(line) as Line),
      };
    },
    signal: (signal) => void process.kill(running.pid, signal),
    logged,
    async stop() {
      await running.stop(1_000);
      rmSync(directory, { recursive: true, force: true });
    },
  };
}
