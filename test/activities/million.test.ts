/** Row F38 of the fault table: a million records in one period, with the hashing process killed on the way. */
import assert from 'node:assert/strict';
import { fork, type ChildProcess } from 'node:child_process';
import { hash } from 'node:crypto';
import { once } from 'node:events';
import { join } from 'node:path';
import type { ExtendOrder, ExtendReport } from '../../bench/log/extend.ts';
import { appendLeaves } from '../../bench/log/fill.ts';
import { packageRoot } from '../../dev/root.ts';
import { toHex } from '../../protocol/hex.ts';
import type { TestTenant } from '../product-database.ts';
import { createPlane, type Plane } from './plane.ts';

const RECORDS = 1_000_000;
/** Leaves between two heartbeats (activities/log/hash.ts). */
const PAGE = 8_192;

describe('a million records in one period (F38)', function () {
  this.timeout(300_000);
  let plane: Plane;
  let tenant: TestTenant;
  let seq: number;
  const processes: ChildProcess[] = [];

  before(async () => {
    plane = await createPlane();
    tenant = await plane.tenant();
    const superuser = await plane.database.connect(plane.database.superuserUrl);
    await appendLeaves(superuser, tenant.role, { from: 0, to: RECORDS, period: tenant.firstPeriod });
    seq = await plane.collect(tenant);
  });
  after(async () => {
    for (const running of processes) running.kill('SIGKILL');
    await plane.stop();
  });

  /** The sealing worker's activity in a process of its own, which can be killed and whose memory is its own. */
  async function startHashing(): Promise<{ worker: ChildProcess; done: Promise<ExtendReport | undefined> }> {
    const { urls, incarnation } = plane.database;
    const worker = fork(join(packageRoot, 'dist/bench/log/extend.js'), [urls.kiff_sealing, incarnation]);
    processes.push(worker);
    await once(worker, 'message');
    const ended = once(worker, 'exit').then(() => undefined);
    const reported = once(worker, 'message').then(([report]) => report as ExtendReport);
    worker.send({ kind: 'extend', tenantId: tenant.id, seq } satisfies ExtendOrder);
    return { worker, done: Promise.race([reported, ended]) };
  }

  async function storedLeaves(): Promise<number> {
    const [last] = await plane.database.sql<{ size: number }>(
      `SELECT coalesce(max(index * 256 + octet_length(hashes) / 32), 0) AS size FROM ${tenant.role}.tiles WHERE level = 0`,
    );
    return last!.size;
  }

  it('is hashed in bounded memory, with heartbeats; killed in the middle it goes on from there; and it is signed', async () => {
    const first = await startHashing();
    while ((await storedLeaves()) < RECORDS / 4);
    first.worker.kill('SIGKILL');
    assert.equal(await first.done, undefined, 'control: it was killed before its end');
    const stored = await storedLeaves();
    const [cut] = await plane.database.sql<{ tree_size: number; root: Buffer | null }>(
      `SELECT tree_size, root FROM ${tenant.role}.seals WHERE seq = 1`,
    );
    assert.deepEqual([cut!.tree_size, cut!.root], [RECORDS, null], 'control: all of it is one period, and not hashed');

    const { done } = await startHashing();
    const report = await done;
    assert.ok(report);
    // One for each page that is written: none of those that were.
    assert.equal(report.heartbeats, Math.ceil((RECORDS - stored) / PAGE));
    const addedMiB = (report.peakBytes - report.startBytes) / 2 ** 20;
    assert.ok(addedMiB < 200, `${addedMiB} MiB`);

    const [sealed] = await plane.database.sql<{ root: Buffer }>(`SELECT root FROM ${tenant.role}.seals WHERE seq = 1`);
    assert.equal(toHex(sealed!.root), toHex(await rootOfAll()));
    await plane.signing.signSeals({ tenantId: tenant.id, seqs: [1] });
    const [{ level } = { level: '' }] = await plane.database.sql<{ level: string }>(
      `SELECT level FROM ${tenant.role}.seals WHERE seq = 1`,
    );
    assert.equal(level, 'sealed');
  });

  /** The tree's root as RFC 9162 section 2.1 has it, level by level, from the stored leaf hashes. */
  async function rootOfAll(): Promise<Buffer> {
    const [all] = await plane.database.sql<{ hashes: Buffer }>(
      `SELECT string_agg(leaf_hash, '' ORDER BY leaf_index) AS hashes FROM ${tenant.role}.records`,
    );
    let row = all!.hashes;
    const node = Buffer.alloc(65, 1);
    while (row.length > 32) {
      const above = Buffer.alloc(32 * Math.ceil(row.length / 64));
      for (let at = 0; at < row.length; at += 64) {
        // One that has no sibling rises as it is.
        if (at + 32 === row.length) row.copy(above, at / 2, at);
        else {
          row.copy(node, 1, at, at + 64);
          hash('sha256', node, 'buffer').copy(above, at / 2);
        }
      }
      row = above;
    }
    return row;
  }
});
