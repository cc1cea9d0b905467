/**
 * `npm run bench:ingest`: how much of what the database can take gets through the API, and how much of what the API can take
 * survives storing. Ends with one line of JSON: `{ndjsonRatio, singleRatio, ndjsonPerSecond, singlePerSecond}`.
 *
 * ndjsonRatio   records per second as NDJSON of 1,000 through HTTP / the same rows by raw multi-row inserts on one connection
 * singleRatio   single POSTs over 64 connections / the same to the same application, which stores nothing
 *
 * BENCH_CPU_PROFILE=DIR leaves a CPU profile of the API's process there.
 */
import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { packageRoot } from '../../dev/root.ts';
import { startApi } from '../api.ts';
import { prepareGround, type BenchTenant, type Ground } from '../ground.ts';
import { median, rounded } from '../measure.ts';
import type { LoadOrder, LoadReport } from './load.ts';
import { insertRaw, readStored } from './raw-inserts.ts';

const RUNS = 7;
const NDJSON = { recordsPerRequest: 1_000, requests: 60, connections: 4 };
const SINGLE = { recordsPerRequest: 1, requests: 12_000, connections: 64 };

const say = (line: string): void => void process.stdout.write(`${line}\n`);

async function load(generator: ChildProcess, order: LoadOrder): Promise<{ seconds: number; perSecond: number }> {
  generator.send(order);
  const [report] = (await once(generator, 'message')) as [LoadReport];
  const { 200: stored = 0, 201: created = 0, ...others } = report.statuses;
  if (stored + created !== order.requests) throw new Error(`not everything was accepted: ${JSON.stringify(others)}`);
  const perSecond = (order.requests * order.recordsPerRequest) / report.seconds;
  return { seconds: report.seconds, perSecond };
}

async function bench(ground: Ground): Promise<void> {
  const real: BenchTenant = await ground.tenant('acme');
  const raw = await ground.tenant('raw');
  const database = await ground.connect(ground.url('superuser'));
  const api = await startApi(ground, 'api', 'api/ingest/main.js');
  const nothing = await startApi(ground, 'storing-nothing', 'bench/ingest/storing-nothing.js');
  const generator = fork(join(packageRoot, 'dist/bench/ingest/load.js'));
  const { apiKey } = real;
  const size = async (): Promise<number> => {
    const { rows } = await database.query<{ size: number }>(`SELECT size FROM ${real.schema}.log_head`);
    return rows[0]?.size ?? 0;
  };

  try {
    const ndjson: { api: number; raw: number }[] = [];
    const single: { api: number; nothing: number }[] = [];
    // The first round warms both sides up and does not count.
    for (let run = 0; run <= RUNS; run++) {
      const from = await size();
      await database.query('CHECKPOINT');
      const lines = await load(generator, { ...NDJSON, port: api.port, apiKey });
      const batches = await readStored(database, real.schema, from);
      await database.query('CHECKPOINT');
      const rows = NDJSON.requests * NDJSON.recordsPerRequest;
      const rawPerSecond = rows / (await insertRaw(database, raw.schema, batches));

      const dry = await load(generator, { ...SINGLE, port: nothing.port, apiKey });
      await database.query('CHECKPOINT');
      const wet = await load(generator, { ...SINGLE, port: api.port, apiKey });

      say(
        `  ${run === 0 ? 'warm-up' : `run ${run} of ${RUNS}`}  NDJSON ${Math.round(lines.perSecond)}/s, raw ${Math.round(rawPerSecond)}/s: ` +
          `${(lines.perSecond / rawPerSecond).toFixed(2)}   single ${Math.round(wet.perSecond)}/s, ` +
          `storing nothing ${Math.round(dry.perSecond)}/s: ${(wet.perSecond / dry.perSecond).toFixed(2)}`,
      );
      if (run === 0) continue;
      ndjson.push({ api: lines.perSecond, raw: rawPerSecond });
      single.push({ api: wet.perSecond, nothing: dry.perSecond });
    }
    say(
      JSON.stringify({
        ndjsonRatio: rounded(median(ndjson.map((run) => run.api / run.raw))),
        singleRatio: rounded(median(single.map((run) => run.api / run.nothing))),
        ndjsonPerSecond: Math.round(median(ndjson.map((run) => run.api))),
        singlePerSecond: Math.round(median(single.map((run) => run.api))),
      }),
    );
  } finally {
    generator.kill();
    await Promise.all([api.process.stop(), nothing.process.stop()]);
  }
}

const ground = await prepareGround();
try {
  await bench(ground);
} finally {
  await ground.stop();
}
