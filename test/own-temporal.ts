/**
 * A Temporal server of a test file's own, for tests whose workers and workflows must not meet those of the local stack: both
 * poll the same queues.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Client, Connection } from '@temporalio/client';
import { startTemporal } from '../dev/temporal.ts';
import { temporalBinary } from '../dev/temporal-binary.ts';
import { SEARCH_ATTRIBUTES } from '../workflows/attributes.ts';

export interface OwnTemporal {
  address: string;
  namespace: string;
  client: Client;
  /** Workflows that match a query, running or closed, once the server lists at least `least` of them. */
  list(query: string, least: number): Promise<{ workflowId: string; runId: string; startTime: Date }[]>;
  signal(signal: 'SIGSTOP' | 'SIGCONT'): void;
  stop(): Promise<void>;
}

export async function startOwnTemporal(): Promise<OwnTemporal> {
  const directory = mkdtempSync(join(tmpdir(), 'kiff-cloud-own-temporal-'));
  const binary = await temporalBinary({ onProgress: () => undefined }); // set-up has made it
  const server = await startTemporal({
    binary,
    searchAttributes: SEARCH_ATTRIBUTES,
    logFile: join(directory, 'temporal.log'),
  });
  const { address, namespace, pid } = server;
  const connection = await Connection.connect({ address });
  const client = new Client({ connection, namespace });
  return {
    address,
    namespace,
    client,
    async list(query, least) {
      for (;;) {
        const found = [];
        for await (const { workflowId, runId, startTime } of client.workflow.list({ query })) {
          found.push({ workflowId, runId, startTime });
        }
        if (found.length >= least) return found;
      }
    },
    signal: (signal) => void process.kill(pid, signal),
    async stop() {
      await connection.close();
      await server.stop();
      rmSync(directory, { recursive: true, force: true });
    },
  };
}
