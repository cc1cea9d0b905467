/** Many tenants on one API process: each comes once, and then they are idle. What each leaves behind is looked for. */
import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { createWriteStream } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type pg from 'pg';
import { LOCAL_PARTY, localJwtKey } from '../../dev/clerk.ts';
import { packageRoot } from '../../dev/root.ts';
import { INCARNATION, type Ground } from '../ground.ts';
import type { OnboardedTenant } from './onboarding.ts';

export interface IdleFigures {
  /** Held by JavaScript, on its heap and outside of it, per tenant. */
  heldKiB: number;
  /** The most connections with tenants' logins that the database saw at once. */
  connections: number;
  /** Requests that were told to come again. */
  refused: number;
  seconds: number;
}

/** Tenants that come before the first measurement, again and again: what a process grows by once is not counted. */
const WARM = 100;
const ROUNDS = 10;
/** Tenants that come at the same time: more than there are connections. */
const SIMULTANEOUS = 100;

export async function measureIdle(ground: Ground, tenants: readonly OnboardedTenant[]): Promise<IdleFigures> {
  const database = await ground.connect(ground.url('superuser'));
  const api = fork(join(packageRoot, 'dist/bench/tenants/measured-api.js'), {
    env: {
      DATABASE_URL: ground.url('kiff_api'),
      KIFF_INCARNATION: INCARNATION,
      TENANT_LOGIN_SECRET: ground.secrets.tenantLogin,
      PROMISE_KEY: ground.secrets.promiseKey,
      API_PORT: '0',
      CHAIN_ID: String(ground.chainId),
      CONTRACT: ground.contract,
      CLERK_JWT_KEY: localJwtKey(ground.directory),
      CLERK_AUTHORIZED_PARTIES: LOCAL_PARTY,
      LOG_LEVEL: 'error',
    },
    silent: true,
  });
  api.stderr?.pipe(createWriteStream(join(ground.directory, 'api.log')));
  try {
    const url = await listening(api);
    const counts = { connections: 0, refused: 0 };
    const watching = watch(database, counts);
    await visit(url, Array.from({ length: ROUNDS }, () => tenants.slice(0, WARM)).flat(), counts);
    await untilIdle(database);
    const before = await memoryOf(api);

    const began = performance.now();
    await visit(url, tenants.slice(WARM), counts);
    const seconds = (performance.now() - began) / 1000;
    await untilIdle(database);
    const after = await memoryOf(api);
    await watching.stop();

    return { heldKiB: (after - before) / 1024 / (tenants.length - WARM), ...counts, seconds };
  } finally {
    const exited = once(api, 'exit');
    api.kill('SIGTERM');
    await exited;
  }
}

async function listening(api: ChildProcess): Promise<string> {
  let said = '';
  for await (const chunk of api.stdout ?? []) {
    said += String(chunk);
    const url = /listening on (http\S+)\n/.exec(said)?.[1];
    if (url !== undefined) return url;
  }
  throw new Error('the API ended before it was ready');
}

/** Bytes. */
async function memoryOf(api: ChildProcess): Promise<number> {
  const answer = once(api, 'message') as Promise<[number]>;
  api.send('memory');
  return (await answer)[0];
}

/** Each of them posts a record and asks for its seals. One that is told to come again does. */
async function visit(url: string, tenants: readonly OnboardedTenant[], counts: { refused: number }): Promise<void> {
  const waiting = [...tenants.entries()];
  const ask = async (request: () => Promise<Response>): Promise<void> => {
    for (;;) {
      const response = await request();
      await response.arrayBuffer();
      if (response.ok) return;
      if (response.status !== 503 && response.status !== 429) throw new Error(`the API answered ${response.status}`);
      counts.refused++;
      await delay(50);
    }
  };
  const lane = async (): Promise<void> => {
    for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
      const [at, { apiKey }] = next;
      const authorization = `Bearer ${apiKey}`;
      const body = JSON.stringify({
        id: `${at}-${Date.now()}`,
        kind: 'action_executed',
        entity_id: 'order-1',
        entity_type: 'order',
        created_at: new Date().toISOString(),
      });
      await ask(() =>
        fetch(`${url}/v1/records`, {
          method: 'POST',
          headers: { authorization, 'content-type': 'application/json' },
          body,
        }),
      );
      await ask(() => fetch(`${url}/v1/seals`, { headers: { authorization } }));
    }
  };
  await Promise.all(Array.from({ length: SIMULTANEOUS }, lane));
}

const TENANTS = `SELECT count(*) AS count FROM pg_stat_activity WHERE usename LIKE 'kiff\\_t\\_%'`;

async function connectionsNow(database: pg.Client): Promise<number> {
  const { rows } = await database.query<{ count: number }>(TENANTS);
  return rows[0]?.count ?? 0;
}

/** Until no tenant has a connection any more. */
async function untilIdle(database: pg.Client): Promise<void> {
  while ((await connectionsNow(database)) > 0) await delay(500);
}

/** Looks at the number of connections until it is stopped, and keeps the highest. */
function watch(database: pg.Client, counts: { connections: number }): { stop(): Promise<void> } {
  const off = new AbortController();
  const watching = (async () => {
    while (!off.signal.aborted) {
      counts.connections = Math.max(counts.connections, await connectionsNow(database));
      await delay(50);
    }
  })();
  return {
    async stop() {
      off.abort();
      await watching;
    },
  };
}
