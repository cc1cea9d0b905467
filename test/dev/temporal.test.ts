import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Client, Connection } from '@temporalio/client';
import { defineSearchAttributeKey } from '@temporalio/common';
import { processBirth } from '../../dev/process-identity.ts';
import { startTemporal, type Temporal, type TemporalOptions } from '../../dev/temporal.ts';
import { temporalBinary } from '../../dev/temporal-binary.ts';

const tenantId = defineSearchAttributeKey('TenantId', 'KEYWORD');
const period = defineSearchAttributeKey('Period', 'INT');

describe('dev/temporal', function () {
  this.timeout(60_000);
  let binary: string;
  let directory: string;
  let servers: Temporal[];

  before(async function () {
    if (process.env['TEMPORAL_ADDRESS']) this.skip(); // then set-up provides no server of our own
    binary = await temporalBinary({ onProgress: () => undefined });
  });

  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), 'kiff-cloud-temporal-'));
    servers = [];
  });

  afterEach(async () => {
    await Promise.all(servers.map((server) => server.stop()));
    rmSync(directory, { recursive: true, force: true });
  });

  async function start(options: Partial<TemporalOptions> = {}): Promise<Temporal> {
    const logFile = join(directory, `${servers.length}.log`);
    const server = await startTemporal({ binary, searchAttributes: { TenantId: 'Keyword' }, logFile, ...options });
    servers.push(server);
    return server;
  }

  it('is looked for on PATH first, past what does not run', async () => {
    const [broken, good] = [join(directory, 'broken'), join(directory, 'good')];
    for (const folder of [broken, good]) mkdirSync(folder);
    writeFileSync(join(broken, 'temporal'), '#!/bin/sh\nexit 127\n', { mode: 0o755 });
    symlinkSync(binary, join(good, 'temporal'));
    const path = process.env['PATH'];
    try {
      process.env['PATH'] = [join(directory, 'absent'), broken, good, path].join(':');
      assert.equal(await temporalBinary({ onProgress: assert.fail }), join(good, 'temporal'));
    } finally {
      process.env['PATH'] = path;
    }
  });

  it('is ready when it says so: workflows, search attributes, the Web UI; and leaves nothing when it is stopped', async () => {
    const server = await start({ namespace: 'kiff' });
    assert.equal(server.namespace, 'kiff');
    const page = await fetch(server.uiUrl);
    assert.match(await page.text(), /<html/i);
    await withClient(server, async (client) => {
      const typedSearchAttributes = [{ key: tenantId, value: 'acme' }];
      const handle = await client.workflow.start('unknown', {
        taskQueue: 'none',
        workflowId: 'w',
        typedSearchAttributes,
      });
      assert.equal((await handle.describe()).typedSearchAttributes.get(tenantId), 'acme');
      await assert.rejects(
        client.workflow.start('unknown', {
          taskQueue: 'none',
          workflowId: 'x',
          typedSearchAttributes: [{ key: period, value: 1 }],
        }),
        'an attribute that is not registered is refused',
      );
    });
    await server.stop();
    await server.stop();
    assert.equal(processBirth(server.pid), undefined);
  });

  it('continues its workflows after a restart, a kill -9 too, and then knows attributes that are new', async () => {
    const dbFile = join(directory, 'temporal.db');
    const first = await start({ dbFile });
    await withClient(first, (client) => client.workflow.start('unknown', { taskQueue: 'none', workflowId: 'kept' }));
    await first.stop();

    const second = await start({ dbFile, searchAttributes: { TenantId: 'Keyword', Period: 'Int' } });
    await withClient(second, async (client) => {
      assert.equal((await client.workflow.getHandle('kept').describe()).status.name, 'RUNNING');
      const typedSearchAttributes = [{ key: period, value: 7 }];
      await client.workflow.start('unknown', { taskQueue: 'none', workflowId: 'later', typedSearchAttributes });
    });
    process.kill(second.pid, 'SIGKILL');
    await second.exited;

    const third = await start({ dbFile });
    await withClient(third, async (client) => {
      assert.equal((await client.workflow.getHandle('kept').describe()).status.name, 'RUNNING');
      const later = await client.workflow.getHandle('later').describe();
      assert.equal(later.typedSearchAttributes.get(period), 7);
    });
  });

  it('refuses an attribute that stands with another type', async () => {
    const dbFile = join(directory, 'temporal.db');
    await (await start({ dbFile })).stop();
    await assert.rejects(start({ dbFile, searchAttributes: { TenantId: 'Int' } }), /TenantId is not of type Int/);
  });

  it('ends the server that a killed supervisor left on the same file, and runs beside one on another', async () => {
    const dbFile = join(directory, 'temporal.db');
    const [left, other] = await Promise.all([start({ dbFile }), start()]);
    const next = await start({ dbFile });
    assert.equal(processBirth(left.pid), undefined);
    for (const server of [other, next]) {
      await withClient(server, (client) => client.workflow.start('unknown', { taskQueue: 'none', workflowId: 'w' }));
    }
  });

  it('says why it did not start', async () => {
    const { address } = await start();
    const port = Number(address.split(':')[1]);
    await assert.rejects(
      start({ port, uiPort: port + 1 }),
      /temporal ended before it was ready[^]*address already in use/,
    );
  });
});

async function withClient<T>({ address, namespace }: Temporal, work: (client: Client) => Promise<T>): Promise<T> {
  const connection = await Connection.connect({ address });
  try {
    return await work(new Client({ connection, namespace }));
  } finally {
    await connection.close();
  }
}
