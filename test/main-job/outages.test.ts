/** What is under way is interrupted: rows F10, F11, F31 and F40 of the fault table, on the whole stack. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import pg from 'pg';
import type { ProcessName } from '../../dev/processes.ts';
import { packageRoot } from '../../dev/root.ts';
import type { LocalTenant } from '../../dev/tenant.ts';
import { PRODUCT } from '../../sql/prepare.ts';
import { auditRecord, post, until, untilLevel } from './client.ts';
import { startLoad, type Load } from './load.ts';
import { localStack, PERIOD_SECONDS, type LocalStack } from './local-stack.ts';
import { assertUnbroken, storedSeals } from './unbroken.ts';

const TEN_MINUTES = 600_000;

const moreOf = (load: Load, count: number): Promise<true> => {
  const goal = load.acknowledged.length + count;
  return until(`${count} more acknowledgements`, async () => (load.acknowledged.length >= goal ? true : undefined));
};

describe('interrupted', function () {
  this.timeout(150_000);
  let local: LocalStack;

  before(async () => {
    local = await localStack();
  });
  afterEach(() => local.kms.clearFaults());

  /** Everything that was acknowledged stands where the answer said, in the seal of its own period. */
  async function assertKept(tenant: LocalTenant, load: Load): Promise<void> {
    const rows = await local.sql<{ id: string; leaf_index: string; received_at: Date }>(
      `SELECT id, leaf_index, received_at FROM kiff_t_${tenant.id}.records`,
    );
    const stored = new Map(rows.map((row) => [row.id, row]));
    const seals = await storedSeals(local, tenant);
    for (const { id, leafIndex, receivedAt } of load.acknowledged) {
      const row = stored.get(id);
      assert.deepEqual([Number(row?.leaf_index), row?.received_at.toISOString()], [leafIndex, receivedAt], id);
      const period = Math.floor(Date.parse(receivedAt) / 1000 / PERIOD_SECONDS) * PERIOD_SECONDS;
      const seal = seals.find(({ tree_size: size }) => Number(size) > leafIndex);
      assert.equal(Number(seal?.period), period, `${id} is sealed in the period in which it was received`);
    }
  }

  /** Until the newest seal of the tenant is a later one than now. */
  async function nextSeal(tenant: LocalTenant): Promise<void> {
    const before = (await storedSeals(local, tenant)).length;
    await until('the next cut', async () => ((await storedSeals(local, tenant)).length > before ? true : undefined));
  }

  it('F10, F11: Temporal dies during a seal and stays away for three periods: ingest goes on, then every period is sealed once, in order', async () => {
    const tenant = await local.tenant();
    await local.kms.inject({ fault: 'delay', ms: 2_000, action: 'Sign', keyId: await local.keyId(tenant), times: 1 });
    const load = startLoad(local.stack.apiUrl, [tenant], 2);
    await until('a seal to be at KMS', async () => ((await local.kms.faults()).length === 0 ? true : undefined));
    await local.killTemporal();

    let sealedBefore: number;
    try {
      const away = Date.now();
      sealedBefore = (await storedSeals(local, tenant)).length;
      while (Date.now() < away + 3 * PERIOD_SECONDS * 1000) await moreOf(load, 10);
      assert.equal(load.failed, 0, 'ingest did not notice');
      assert.equal((await storedSeals(local, tenant)).length, sealedBefore, 'control: nothing was sealed meanwhile');
    } finally {
      await local.reviveTemporal();
      await load.stop();
    }
    await untilLevel(local.stack.apiUrl, tenant, load.acknowledged.at(-1)!.id, 'final');
    await assertUnbroken(local, tenant);
    await assertKept(tenant, load);
    const seals = await storedSeals(local, tenant);
    assert.ok(seals.length >= sealedBefore + 3, 'the missed periods are there');
    for (const { seq, period } of seals.filter(({ level }) => level === 'final')) {
      const { count } = await local.temporal.workflow.count(`WorkflowId = 'seal/${tenant.id}/${period}'`);
      assert.ok(count <= 1, `seal ${seq} was run once`);
    }
  });

  it('F40, F31: every process is told to stop under load and ends in time, losing nothing; clocks ten minutes off change no period', async () => {
    const tenant = await local.tenant();
    const first = await post(local.stack.apiUrl, tenant, auditRecord());
    await untilLevel(local.stack.apiUrl, tenant, first.id, 'sealed');
    const load = startLoad(local.stack.apiUrl, [tenant], 8);
    await moreOf(load, 100);

    const stop = async (name: ProcessName, graceMs: number): Promise<void> => {
      const { code, signal, after } = await local.terminate(name);
      assert.deepEqual([code, signal], [0, null], `${name} ended by itself`);
      assert.ok(after < graceMs, `${name} took ${after} ms`);
    };
    await stop('api', 20_000);
    assert.ok(load.acknowledged.length > 100, 'control: there was load');
    await local.revive('api');
    await moreOf(load, 100);

    const clocks: [ProcessName, number][] = [
      ['sealing', TEN_MINUTES],
      ['signing', -TEN_MINUTES],
      ['anchoring', TEN_MINUTES],
    ];
    const preload = pathToFileURL(join(packageRoot, 'dist/test/main-job/shifted-clock.js')).href;
    try {
      for (const [name, shift] of clocks) {
        const release = await inTheMiddleOf[name]?.(tenant);
        const stopping = stop(name, 15_000);
        await release?.();
        await stopping;
        await local.revive(name, { NODE_OPTIONS: `--import=${preload}`, CLOCK_SHIFT_MS: String(shift) });
      }
      await nextSeal(tenant);
      await load.stop();
      await untilLevel(local.stack.apiUrl, tenant, load.acknowledged.at(-1)!.id, 'final');
      for (const [name, shift] of clocks) {
        const ready = /"time":(\d+).*"msg":"ready"/.exec(
          readFileSync(join(local.stack.around.state, 'logs', `${name}.log`), 'utf8'),
        );
        assert.ok(Math.abs(Number(ready?.[1]) - shift - Date.now()) < 120_000, `control: ${name}'s clock is off`);
      }
    } finally {
      await load.stop();
      await Promise.all(
        clocks.map(async ([name]) => {
          await local.terminate(name);
          await local.revive(name);
        }),
      );
    }
    await assertUnbroken(local, tenant);
    await assertKept(tenant, load);
  });

  /** Brings a worker into the middle of a seal; what it answers lets the seal go on. */
  const inTheMiddleOf: Partial<Record<ProcessName, (tenant: LocalTenant) => Promise<() => Promise<void>>>> = {
    async sealing(tenant) {
      const url = new URL(local.stack.around.superuserUrl);
      url.pathname = `/${PRODUCT}`;
      const holder = new pg.Client({ connectionString: url.href });
      await holder.connect();
      await holder.query('BEGIN');
      await holder.query(`LOCK TABLE kiff_t_${tenant.id}.tiles IN EXCLUSIVE MODE`);
      await until('the sealing worker to wait for the tiles', async () => {
        const waiting = await local.sql(
          `SELECT FROM pg_stat_activity WHERE usename = 'kiff_sealing' AND wait_event_type = 'Lock'`,
        );
        return waiting.length > 0 ? true : undefined;
      });
      return async () => {
        await holder.query('ROLLBACK');
        await holder.end();
      };
    },
    async signing(tenant) {
      await local.kms.inject({ fault: 'delay', ms: 1_000, action: 'Sign', keyId: await local.keyId(tenant), times: 1 });
      await until('the signer to ask KMS', async () => ((await local.kms.faults()).length === 0 ? true : undefined));
      return async () => undefined;
    },
    async anchoring(tenant) {
      await until('a seal to be signed and in no block', async () => {
        const seals = await storedSeals(local, tenant);
        return seals.some(({ level }) => level === 'sealed') ? true : undefined;
      });
      return async () => undefined;
    },
  };
});
