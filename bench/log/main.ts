/**
 * `npm run bench:log`: what it costs to extend a log by stored entries. Ends with one line of JSON:
 * `{hashRatio, addedMiB, perLeafGrowth}`.
 *
 * hashRatio      extending by 10^6 leaves (reading, comparing, hashing, writing tiles) / the bare SHA-256 calls for them
 * addedMiB       resident memory at its highest, above what the process had before it began
 * perLeafGrowth  cost of a leaf on a log of 10^7 / on a log of 10^5
 *
 * BENCH_CPU_PROFILE=DIR leaves a CPU profile of the measured process there.
 */
import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import type pg from 'pg';
import { packageRoot } from '../../dev/root.ts';
import { INCARNATION, PERIOD_SECONDS, prepareGround, type Ground } from '../ground.ts';
import { median, rounded } from '../measure.ts';
import type { ExtendOrder, ExtendReport } from './extend.ts';
import { appendLeaves, collect, ENTRY_BYTES, pastPeriod } from './fill.ts';

const MILLION = 1_000_000;
const LARGE = 10 * MILLION;
const SMALL = 100_000;
/** Leaves by which a small and a large log are extended to compare them. */
const STEP = 100_000;
const COMPARISONS = 7;

const say = (line: string): void => void process.stdout.write(`${line}\n`);

/** A log that grows by one period at a time, each in the past: nothing has to be waited for. */
class GrowingLog {
  readonly id: string;
  private readonly schema: string;
  private readonly superuser: pg.Client;
  private readonly sealing: pg.Client;
  private size = 0;
  private period: number;

  constructor(id: string, schema: string, period: number, clients: { superuser: pg.Client; sealing: pg.Client }) {
    this.id = id;
    this.schema = schema;
    this.period = period;
    this.superuser = clients.superuser;
    this.sealing = clients.sealing;
  }

  /** Appends leaves and cuts after them. @returns the seal's seq */
  async grow(leaves: number): Promise<number> {
    const to = this.size + leaves;
    const start = performance.now();
    let said = start;
    await appendLeaves(this.superuser, this.schema, { from: this.size, to, period: this.period }, (size) => {
      if (performance.now() - said < 10_000) return;
      said = performance.now();
      say(`  ${this.id.padEnd(8)} ${size} of ${to} leaves (${Math.round((said - start) / 1000)} s)`);
    });
    this.size = to;
    const seq = await collect(this.sealing, this.schema, this.period);
    this.period += PERIOD_SECONDS;
    return seq;
  }
}

async function bench(ground: Ground): Promise<void> {
  const superuser = await ground.connect(ground.url('superuser'));
  const sealing = await ground.connect(ground.url('kiff_sealing'));
  const profile = process.env['BENCH_CPU_PROFILE'];
  const worker = fork(join(packageRoot, 'dist/bench/log/extend.js'), [ground.url('kiff_sealing'), INCARNATION], {
    execArgv: [
      '--enable-source-maps',
      ...(profile === undefined ? [] : ['--cpu-prof', `--cpu-prof-dir=${profile}`, '--cpu-prof-name=log.cpuprofile']),
    ],
  });
  await once(worker, 'message');

  const openLog = async (id: string): Promise<GrowingLog> => {
    const firstPeriod = pastPeriod(100);
    const { schema } = await ground.tenant(id, firstPeriod);
    return new GrowingLog(id, schema, firstPeriod, { superuser, sealing });
  };
  const extend = async (log: GrowingLog, leaves: number): Promise<ExtendReport> => {
    const seq = await log.grow(leaves);
    await superuser.query('CHECKPOINT');
    return ask(worker, { kind: 'extend', tenantId: log.id, seq });
  };

  try {
    const small = await openLog('small');
    await extend(small, SMALL); // also warms the process up
    await ask(worker, { kind: 'hash', leaves: SMALL, entryBytes: ENTRY_BYTES });

    const large = await openLog('large');
    const ratios: number[] = [];
    let report: ExtendReport | undefined;
    for (let size = MILLION; size <= LARGE; size += MILLION) {
      report = await extend(large, MILLION);
      const bare = await ask(worker, { kind: 'hash', leaves: MILLION, entryBytes: ENTRY_BYTES });
      ratios.push(report.seconds / bare.seconds);
      say(
        `  ${size} leaves  the last million in ${report.seconds.toFixed(2)} s (${report.heartbeats} heartbeats), ` +
          `bare SHA-256 ${bare.seconds.toFixed(2)} s: ${ratios.at(-1)!.toFixed(2)}`,
      );
    }

    const growths: number[] = [];
    for (let run = 1; run <= COMPARISONS; run++) {
      const fresh = await openLog(`small${run}`);
      await extend(fresh, SMALL);
      const onSmall = await extend(fresh, STEP);
      const onLarge = await extend(large, STEP);
      growths.push(onLarge.seconds / onSmall.seconds);
      const perLeaf = ({ seconds }: ExtendReport): string => `${((seconds / STEP) * 1e6).toFixed(2)} µs`;
      say(
        `  run ${run} of ${COMPARISONS}  a leaf costs ${perLeaf(onSmall)} on a log of ${SMALL}, ${perLeaf(onLarge)} on one of ${LARGE}`,
      );
      report = onLarge;
    }

    const { startBytes, peakBytes } = report!;
    say(
      JSON.stringify({
        hashRatio: rounded(median(ratios)),
        addedMiB: Math.round((peakBytes - startBytes) / 2 ** 20),
        perLeafGrowth: rounded(median(growths)),
      }),
    );
  } finally {
    worker.disconnect();
  }
}

/** Gives the measured process one order. @throws when it ends instead of answering */
async function ask(worker: ChildProcess, order: ExtendOrder): Promise<ExtendReport> {
  const settled = new AbortController();
  const ended = once(worker, 'exit', { signal: settled.signal }).then(() => undefined);
  worker.send(order);
  const answer = await Promise.race([once(worker, 'message', { signal: settled.signal }), ended]);
  settled.abort();
  ended.catch(() => undefined);
  if (answer === undefined) throw new Error('the measured process ended');
  return (answer as [ExtendReport])[0];
}

const ground = await prepareGround();
try {
  await bench(ground);
} finally {
  await ground.stop();
}
