import assert from 'node:assert/strict';
import { chmodSync, existsSync, mkdirSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { reachableBinaries, serverAccount, serverBinaries } from '../../dev/postgres-host.ts';

const asRoot = process.getuid?.() === 0;

describe('dev/postgres-host', () => {
  let directory: string;

  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), 'kiff-cloud-postgres-'));
    chmodSync(directory, 0o711);
  });

  afterEach(() => rmSync(directory, { recursive: true, force: true }));

  it('takes an account that is not root', async () => {
    const account = serverAccount();
    assert.notEqual(account?.uid ?? process.getuid?.(), 0);
    assert.ok(existsSync((await serverBinaries(account)).pgCtl));
  });

  it('as root, copies binaries that the account cannot reach, and trusts no copy of somebody else', async function () {
    if (!asRoot) this.skip();
    const account = serverAccount();
    const { initdb } = await serverBinaries(account);
    const installed = join(initdb, '../..');
    assert.deepEqual(await reachableBinaries(installed, 'test', account), {
      initdb,
      pgCtl: join(installed, 'bin/pg_ctl'),
    });

    const version = `test-${process.pid}`;
    const copy = `/var/tmp/kiff-cloud-postgres-${version}-${process.platform}-${process.arch}`;
    const closed = join(directory, 'closed');
    mkdirSync(join(closed, 'native/bin'), { recursive: true, mode: 0o700 });
    writeFileSync(join(closed, 'native/bin/postgres'), '#!/bin/sh\n', { mode: 0o700 });
    try {
      const copied = await reachableBinaries(join(closed, 'native'), version, account);
      assert.equal(copied.initdb, join(copy, 'bin/initdb'));
      assert.equal(statSync(join(copy, 'bin/postgres')).mode & 0o777, 0o755);
      chmodSync(copy, 0o777);
      await assert.rejects(reachableBinaries(join(closed, 'native'), version, account), /only this user can write/);
    } finally {
      rmSync(copy, { recursive: true, force: true });
    }
  });
});
