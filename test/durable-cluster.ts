/** A PostgreSQL server of a test's own, with durable commits: to be crashed and reconfigured without hurting other tests. */
import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { removePostgres, startPostgres, type Postgres } from '../dev/postgres.ts';

export type TestCluster = Pick<Postgres, 'superuserUrl' | 'restart'> & {
  /** Stops the server and removes its files. */
  remove(): Promise<void>;
};

export async function durableCluster(): Promise<TestCluster> {
  const directory = mkdtempSync(join(tmpdir(), 'kiff-cloud-cluster-'));
  chmodSync(directory, 0o711); // as root, PostgreSQL runs as another user
  const dataDir = join(directory, 'postgres');
  const server = await startPostgres({ dataDir, durable: true });
  return {
    superuserUrl: server.superuserUrl,
    restart: (options) => server.restart(options),
    async remove() {
      await server.stop();
      await removePostgres(dataDir);
      rmSync(directory, { recursive: true, force: true });
    },
  };
}
