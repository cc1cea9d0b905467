/** What nine quiet tenants notice of a tenth that sends ten times what it may (F39). */
import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { packageRoot } from '../../dev/root.ts';
import { startApi } from '../api.ts';
import type { Ground } from '../ground.ts';
import { median, quantile, rounded } from '../measure.ts';
import type { PacedOrder, PacedReport } from './paced.ts';

const ROUNDS = 11;
const SECONDS = 4;
const QUIET = { tenants: 9, requestsPerSecond: 10, connections: 4 };
/** The limit is a new tenant's, by default. */
const LIMIT = { requests: 100, records: 5_000 };
const FLOOD = { requestsPerSecond: 10 * LIMIT.requests, connections: 32 };

function order(child: ChildProcess, wanted: PacedOrder): Promise<PacedReport> {
  child.send(wanted);
  return once(child, 'message').then(([report]) => report as PacedReport);
}

/** @returns p99 of single POSTs under the flood / p99 alone: the median over rounds, in each of which both take turns */
export async function measureFlood(ground: Ground, say: (line: string) => void): Promise<number> {
  const quiet = await Promise.all(Array.from({ length: QUIET.tenants }, (_, at) => ground.tenant(`quiet${at}`)));
  const flooder = await ground.tenant('flooder');
  const operator = await ground.connect(ground.url('superuser'));
  await operator.query('SELECT kiff.set_limits($1, NULL, $2, $3)', [flooder.id, LIMIT.requests, LIMIT.records]);
  const api = await startApi(ground, 'api', 'api/ingest/main.js');
  const children = [0, 1].map(() => fork(join(packageRoot, 'dist/bench/tenants/paced.js')));
  const [quietClients, floodingClient] = children as [ChildProcess, ChildProcess];

  const { port } = api;
  const listening = (seconds: number): Promise<PacedReport> =>
    order(quietClients, { ...QUIET, port, apiKeys: quiet.map(({ apiKey }) => apiKey), seconds });
  const flooding = (seconds: number): Promise<PacedReport> =>
    order(floodingClient, { ...FLOOD, port, apiKeys: [flooder.apiKey], seconds });

  try {
    const ratios: number[] = [];
    // Pools, plans and code that is compiled on the way.
    await Promise.all([listening(SECONDS / 2), flooding(SECONDS / 2)]);
    for (let round = 1; round <= ROUNDS; round++) {
      const before = await listening(SECONDS);
      const [during, flood] = await Promise.all([listening(SECONDS), flooding(SECONDS)]);
      for (const { statuses } of [before, during]) {
        if (Object.keys(statuses).some((status) => status !== '201')) {
          throw new Error(`a quiet tenant was not served: ${JSON.stringify(statuses)}`);
        }
      }
      const { 201: stored = 0, 429: refused = 0, ...others } = flood.statuses;
      if (Object.keys(others).length > 0) throw new Error(`the flood met something else: ${JSON.stringify(others)}`);
      if (refused < stored) throw new Error(`the flood was let in: ${stored} stored, ${refused} refused`);
      const [alone, flooded] = [before, during].map(({ latencies }) => quantile(latencies, 0.99)) as [number, number];
      ratios.push(flooded / alone);
      say(
        `  round ${round} of ${ROUNDS}  p99 alone ${rounded(alone)} ms, under the flood ${rounded(flooded)} ms; ` +
          `of the flood ${stored} stored, ${refused} refused`,
      );
    }
    return median(ratios);
  } finally {
    for (const child of children) child.kill();
    await api.process.stop();
  }
}
