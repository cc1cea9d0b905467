/** A paused tenant is not sealed and takes no records; what it missed is made up by the first seal after it is resumed. */
import assert from 'node:assert/strict';
import { setTimeout as delay } from 'node:timers/promises';
import type pg from 'pg';
import { readTenant, Refused, setPaused } from '../../cli/operator/tenants.ts';
import { startIngestApi } from '../api/ingest-api.ts';
import { createPlane, type Plane } from './plane.ts';

describe('pausing a tenant', function () {
  this.timeout(60_000);
  let plane: Plane;
  let operator: pg.Client;

  before(async () => {
    plane = await createPlane();
    operator = await plane.database.connect(plane.database.urls.kiff_operator);
  });
  after(() => plane.stop());

  const listed = async (): Promise<string[]> => plane.log.listTenants({ after: '', limit: 1_000 });

  it('takes it out of the round, and its periods are made up after it is resumed, gapless', async () => {
    const tenant = await plane.tenant();
    await plane.post(tenant, 3);
    const before = await plane.collect(tenant);
    await setPaused(operator, tenant.id, true);
    assert.ok(!(await listed()).includes(tenant.id));
    assert.equal((await readTenant(operator, tenant.id)).status, 'paused');

    const [then] = await plane.database.sql<{ now: number }>(
      'SELECT extract(epoch FROM clock_timestamp())::float8 AS now',
    );
    await delay(2_500); // periods of a second go by: that is what is tried here
    await setPaused(operator, tenant.id, false);
    assert.ok((await listed()).includes(tenant.id));

    const after = await plane.collect(tenant);
    assert.ok(after >= before + 2, `control: periods were missed (${before}, then ${after})`);
    await plane.log.hashSeals({ tenantId: tenant.id, throughSeq: after });
    const seqs = await plane.log.unsignedSeals({ tenantId: tenant.id, throughSeq: after });
    await plane.signing.signSeals({ tenantId: tenant.id, seqs });
    // The chain's newest block may be older than the newest period's end.
    while ((await plane.levels(tenant)).some((level) => level !== 'final')) await plane.anchorAll();
    const seals = await plane.database.sql<{ seq: number; period: number; level: string }>(
      `SELECT seq, period, level FROM ${tenant.role}.seals ORDER BY seq`,
    );
    const first = seals[0]!.period;
    assert.deepEqual(
      seals,
      Array.from({ length: after }, (_, index) => ({ seq: index + 1, period: first + index, level: 'final' })),
    );
    assert.ok(seals.some(({ period }) => period > then!.now && period < then!.now + 2));
    const events = await plane.database.sql(
      `SELECT kind FROM ${tenant.role}.events WHERE kind LIKE 'tenant.%' ORDER BY id`,
    );
    assert.deepEqual(events, [{ kind: 'tenant.paused' }, { kind: 'tenant.resumed' }]);
  });

  it('lets it read and not write; its neighbours do both', async () => {
    const [paused, neighbour] = [await plane.tenant(), await plane.tenant()];
    await setPaused(operator, paused.id, true);
    const api = await startIngestApi(plane.database);
    try {
      const record = JSON.stringify({
        id: 'r',
        kind: 'k',
        entity_id: 'e',
        entity_type: 't',
        created_at: '2026-01-02T03:04:05Z',
      });
      const refused = await api.post(paused.apiKey, record);
      assert.deepEqual([refused.status, refused.json.type], [503, 'https://kiff.dev/problems/tenant-not-ready']);
      assert.equal((await api.get('/v1/seals', paused.apiKey)).status, 200);
      assert.equal((await api.post(neighbour.apiKey, record)).status, 201);
    } finally {
      await api.stop();
    }
  });

  it('is repeatable, and refused for a tenant that is not there to stay', async () => {
    const tenant = await plane.tenant();
    await setPaused(operator, tenant.id, true);
    await setPaused(operator, tenant.id, true);
    await setPaused(operator, tenant.id, false);
    await setPaused(operator, tenant.id, false);
    const events = await plane.database.sql(
      `SELECT kind FROM ${tenant.role}.events WHERE kind LIKE 'tenant.%' ORDER BY id`,
    );
    assert.deepEqual(events, [{ kind: 'tenant.paused' }, { kind: 'tenant.resumed' }]);
    const onboarding = await plane.database.createTenant({ activate: false });
    for (const id of [onboarding.id, 'nobody', `x'; DROP TABLE kiff.tenants; --`]) {
      await assert.rejects(setPaused(operator, id, true), Refused);
    }
  });
});
