/**
 * The real parts that tests run against. Each starts at its first use and is shared by all test files; global teardown
 * stops them (fixtures.ts). A first use takes seconds: `before(async function () { this.timeout(60_000); … })`.
 */
import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Connection } from '@temporalio/client';
import { startAnvil, type Anvil } from '../dev/anvil.ts';
import { removePostgres, startPostgres, type Postgres } from '../dev/postgres.ts';
import { registerSearchAttributes, startTemporal, type Temporal, type SearchAttributes } from '../dev/temporal.ts';
import { part } from '../dev/progress.ts';
import { temporalBinary } from '../dev/temporal-binary.ts';

/** As workflows/attributes.ts has them. */
export const searchAttributes: SearchAttributes = {
  TenantId: 'Keyword',
  Period: 'Int',
  Level: 'Keyword',
  Custody: 'Keyword',
};

/** A PostgreSQL server whose commits are synchronous but not durable. Each test file makes databases of its own. */
export const postgres = lazily('postgres', async (directory): Promise<Postgres> => {
  const dataDir = join(directory, 'postgres');
  const server = await startPostgres({ dataDir, durable: false });
  return onStop(server, async () => {
    await server.stop();
    await removePostgres(dataDir);
  });
});

/** A Temporal server in memory, or the one that TEMPORAL_ADDRESS names; TEMPORAL_NAMESPACE or `default`. */
export const temporal = lazily(
  'temporal',
  async (directory): Promise<Pick<Temporal, 'address' | 'namespace' | 'stop'>> => {
    const address = process.env['TEMPORAL_ADDRESS'];
    const namespace = process.env['TEMPORAL_NAMESPACE'] ?? 'default';
    if (address) {
      const connection = await Connection.connect({ address });
      await registerSearchAttributes(connection, namespace, searchAttributes);
      await connection.close();
      return { address, namespace, stop: async () => undefined };
    }
    const binary = await temporalBinary({ onProgress: () => undefined }); // set-up has made it
    return await startTemporal({ binary, searchAttributes, namespace, logFile: join(directory, 'temporal.log') });
  },
);

/** A chain of its own, 31337, that mines a block for every transaction and only then. */
export const anvil = lazily(
  'anvil',
  async (directory): Promise<Anvil> => await startAnvil({ logFile: join(directory, 'anvil.log') }),
);

/** Stops what was started and removes its files. Repeatable; nothing starts afterwards. */
export async function stopParts(): Promise<void> {
  stopping ??= stopAll();
  await stopping;
}

interface Stoppable {
  stop(): Promise<unknown>;
}

const started: Promise<Stoppable>[] = [];
let directory: string | undefined;
let stopping: Promise<void> | undefined;

export function lazily<T extends Stoppable>(name: string, start: (directory: string) => Promise<T>): () => Promise<T> {
  let shared: Promise<T> | undefined;
  return async () => {
    if (stopping) throw new Error('the tests are being stopped');
    shared ??= remember(watched(name, start(testDirectory())));
    return await shared;
  };
}

/** Says so when a start takes more than two seconds. */
async function watched<T>(name: string, starting: Promise<T>): Promise<T> {
  const progress = part(name);
  progress.start();
  try {
    return await starting;
  } finally {
    progress.stop();
  }
}

function remember<T extends Stoppable>(starting: Promise<T>): Promise<T> {
  started.push(starting);
  return starting;
}

/** Open to all for passing through: as root, PostgreSQL runs as another user. */
function testDirectory(): string {
  if (directory === undefined) {
    directory = mkdtempSync(join(tmpdir(), 'kiff-cloud-test-'));
    chmodSync(directory, 0o711);
  }
  return directory;
}

async function stopAll(): Promise<void> {
  const starts = await Promise.allSettled(started);
  const running = starts.flatMap((start) => (start.status === 'fulfilled' ? [start.value] : []));
  const stops = await Promise.allSettled(running.map((each) => each.stop()));
  if (directory !== undefined) rmSync(directory, { recursive: true, force: true });
  const problems = stops.flatMap((stop) => (stop.status === 'rejected' ? [stop.reason as unknown] : []));
  if (problems.length > 0) throw new AggregateError(problems, 'a part of the tests did not stop');
}

function onStop<T extends Stoppable>(running: T, stop: () => Promise<void>): T {
  return { ...running, stop };
}
