/**
 * transparency-dev/tessera's fsck walks our log: it fetches every entry, tile and checkpoint by C2SP tlog-tiles and computes
 * all of it anew. It is a program of somebody else's, so what it accepts is what other people's tools will.
 */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setImmediate as nextTurn } from 'node:timers/promises';
import type pg from 'pg';
import { appendLeaves } from '../../bench/log/fill.ts';
import { cachedFsck } from '../../dev/fsck-binary.ts';
import { verifierKey } from '../../protocol/note.ts';
import { createProductDatabase, type ProductDatabase, type TestTenant } from '../product-database.ts';
import { recordText, startIngestApi, type IngestApi } from './ingest-api.ts';
import { LogSealer, SIGNER } from './seal-log.ts';

/** The size of the log that it found whole. */
const walked = (said: string): number | undefined => {
  const [, at] = /Successfully fsck'd log with size (\d+) /.exec(said) ?? [];
  return at === undefined ? undefined : Number(at);
};

describe('fsck, the tool that others walk logs with', function () {
  this.timeout(120_000);
  let db: ProductDatabase;
  let api: IngestApi;
  let tenant: TestTenant;
  let sealer: LogSealer;
  let superuser: pg.Client;
  let directory: string;
  let size = 0;

  before(async function () {
    if (cachedFsck() === undefined) {
      console.log('    (not run: fsck is not here; where there is Go, npm test builds it before the tests)');
      this.skip();
    }
    db = await createProductDatabase({ periodSeconds: 1 });
    api = await startIngestApi(db);
    tenant = await db.createTenant({ genesisSigner: SIGNER });
    sealer = new LogSealer(db, tenant);
    superuser = await db.connect(db.superuserUrl);
    directory = mkdtempSync(join(tmpdir(), 'kiff-cloud-fsck-'));
    writeFileSync(join(directory, 'key'), verifierKey(tenant.origin, sealer.operatorKey));
  });
  after(async () => {
    if (directory === undefined) return;
    await sealer.close();
    await api.stop();
    await db.drop();
    rmSync(directory, { recursive: true, force: true });
  });

  /** Makes the log so large with records over HTTP, and publishes it. @returns the seal's seq */
  async function grow(to: number): Promise<number> {
    while (size < to) {
      const count = Math.min(1_000, to - size);
      const lines = Array.from({ length: count }, (_, at) => recordText(`r-${size + at}`));
      assert.equal((await api.postLines(tenant.apiKey, lines.join('\n'))).status, 200);
      size += count;
    }
    return await publish();
  }

  async function publish(): Promise<number> {
    const seq = await sealer.collect();
    await sealer.hash(seq);
    await sealer.sign();
    return seq;
  }

  /** What fsck says; its exit code says nothing. `meanwhile` happens in the midst of the walk. */
  async function fsck(flags: string[] = [], meanwhile?: () => Promise<void>): Promise<string> {
    const args = [`--storage_url=${api.url}/t/${tenant.id}/`, `--public_key=${join(directory, 'key')}`, '--ui=false'];
    const child = spawn(cachedFsck()!, [...args, `--bearer_token=${tenant.apiKey}`, ...flags]);
    let said = '';
    for (const stream of [child.stdout, child.stderr]) stream.on('data', (data: Buffer) => (said += data.toString()));
    const closed = new Promise((resolve) => child.once('close', resolve));
    if (meanwhile !== undefined) {
      const begun = api.logged().length;
      while (!api.logged().slice(begun).includes('/tile/entries/')) await nextTurn();
      child.kill('SIGSTOP');
      await meanwhile();
      child.kill('SIGCONT');
    }
    await closed;
    return said;
  }

  it('has nothing to walk before the first checkpoint', async () => {
    assert.match(await fsck(), /failed to fetch and verify checkpoint/);
  });

  for (const to of [0, 1, 255, 256, 257]) {
    it(`walks it at size ${to}`, async () => {
      await grow(to);
      const said = await fsck();
      assert.equal(walked(said), to, said);
    });
  }

  it('finds a tile that is not the tree’s, and a key that is not the operator’s (controls)', async () => {
    const hashes = await db.sql<{ hashes: Buffer }>(
      `SELECT hashes FROM ${tenant.role}.tiles WHERE level = 1 AND index = 0`,
    );
    const altered = Buffer.from(hashes[0]!.hashes);
    altered[4]! ^= 1;
    const put = async (bytes: Buffer): Promise<void> => {
      await db.sql(`ALTER TABLE ${tenant.role}.tiles DISABLE TRIGGER ALL`);
      await db.sql(`UPDATE ${tenant.role}.tiles SET hashes = $1 WHERE level = 1 AND index = 0`, [bytes]);
      await db.sql(`ALTER TABLE ${tenant.role}.tiles ENABLE TRIGGER ALL`);
    };
    await put(altered);
    assert.match(await fsck(), /tile\/1\/000\.p\/1: log has/);
    await put(hashes[0]!.hashes);
    assert.equal(walked(await fsck()), size);
    writeFileSync(join(directory, 'other'), verifierKey(tenant.origin, `0x${'07'.repeat(32)}`));
    assert.match(await fsck([`--public_key=${join(directory, 'other')}`]), /failed to fetch and verify checkpoint/);
  });

  it('walks it beyond 65,536 while hours turn: each has its checkpoint, and what an older one needs stays', async () => {
    // Straight into the table: what is tried is how it is read.
    const { rows } = await superuser.query<{ now: number }>(
      'SELECT extract(epoch FROM clock_timestamp())::float8 AS now',
    );
    await appendLeaves(superuser, tenant.role, { from: size, to: 65_700, period: Math.floor(rows[0]!.now) });
    size = 65_700;
    const newest = await publish();
    let now = newest;
    // The last tiles grow, and become full, under its hands.
    const said = await fsck(['--N=2'], async () => {
      for (const more of [50, 200]) now = await grow(size + more);
    });
    assert.equal(walked(said), 65_700, said);
    assert.ok(now >= newest + 2);
  });
});
