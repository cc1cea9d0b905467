/** Many tenants on one API process: each comes once, and then they are idle. What each leaves behind is looked for. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type pg from 'pg';
import { startApi } from '../api.ts';
import type { Ground } from '../ground.ts';
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
  const api = await startApi(ground, 'measured-api', 'bench/tenants/measured-api.js');
  try {
    const url = `http://127.0.0.1:${api.port}`;
    const counts = { connections: 0, refused: 0 };
    const watching = watch(database, counts);
    await visit(url, Array.from({ length: ROUNDS }, () => tenants.slice(0, WARM)).flat(), counts);
    await untilIdle(database);
    const before = await memoryOf(ground, api.process.pid);

    const began = performance.now();
    await visit(url, tenants.slice(WARM), counts);
    const seconds = (performance.now() - began) / 1000;
    await untilIdle(database);
    const after = await memoryOf(ground, api.process.pid);
    await watching.stop();

    return { heldKiB: (after - before) / 1024 / (tenants.length - WARM), ...counts, seconds };
  } finally {
    await api.process.stop();
  }
}

/** Bytes. */
async function memoryOf(ground: Ground, pid: number): Promise<number> {
  const said = (): string[] =>
    readFileSync(join(ground.directory, 'measured-api.log'), 'utf8').match(/^held \d+$/gm) ?? [];
  const before = said().length;
  process.kill(pid, 'SIGUSR2');
  for (;;) {
    const answer = said()[before];
    if (answer !== undefined) return Number(answer.slice('held '.length));
    await delay(20);
  }
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
