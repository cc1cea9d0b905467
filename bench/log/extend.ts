/**
 * The process that is measured: it extends logs by the sealing worker's own activity, and makes the bare SHA-256 calls that
 * this cannot do without. Started by `fork`; speaks over its channel.
 */
import { createPool } from '../../activities/database.ts';
import { createLogActivities } from '../../activities/log/create.ts';
import { sha256 } from '../../activities/log/audit.ts';

export type ExtendOrder =
  { kind: 'extend'; tenantId: string; seq: number } | { kind: 'hash'; leaves: number; entryBytes: number };

export interface ExtendReport {
  seconds: number;
  /** Resident bytes before any work, and the most there have been so far. */
  startBytes: number;
  peakBytes: number;
  heartbeats: number;
}

const [, , url = '', incarnation = ''] = process.argv;
const pool = createPool(url, 4, { schema: 'kiff', name: incarnation });
let heartbeats = 0;
const log = createLogActivities({
  pool,
  host: 'kiff.bench',
  alert: (name) => {
    throw new Error(`an alert: ${name}`);
  },
  heartbeat: () => heartbeats++,
});

/** Each leaf is hashed once, and each node above: as many again, but one. */
function hashBare(leaves: number, entryBytes: number): void {
  const leaf = Buffer.alloc(1 + entryBytes);
  const node = Buffer.alloc(1 + 64, 1);
  for (let count = 0; count < leaves; count++) {
    leaf.writeUInt32BE(count, 1);
    sha256(leaf);
    node.writeUInt32BE(count, 1);
    sha256(node);
  }
}

await pool.query('SELECT');
const startBytes = process.memoryUsage.rss();

async function obey(order: ExtendOrder): Promise<ExtendReport> {
  heartbeats = 0;
  const start = performance.now();
  if (order.kind === 'hash') hashBare(order.leaves, order.entryBytes);
  else await log.hashSeals({ tenantId: order.tenantId, throughSeq: order.seq });
  return {
    seconds: (performance.now() - start) / 1000,
    startBytes,
    peakBytes: process.resourceUsage().maxRSS * 1024,
    heartbeats,
  };
}

process.on('message', (order: ExtendOrder) => {
  obey(order)
    .then((report) => process.send?.(report))
    .catch((error: unknown) => {
      process.stderr.write(`${error instanceof Error ? error.stack : String(error)}\n`);
      process.exit(1);
    });
});
process.on('disconnect', () => process.exit());
process.send?.('ready');
