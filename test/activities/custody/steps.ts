/** The steps of a migration, each by the real activities of signer and wallet, as the saga would call them. */
import assert from 'node:assert/strict';
import { setTimeout as delay } from 'node:timers/promises';
import { readLogState, type LogState } from '../../../activities/chain/registry.ts';
import type { CustodySigningActivities } from '../../../activities/signing/custody/create.ts';
import type { Hex } from '../../../protocol/hex.ts';
import type { TestTenant } from '../../product-database.ts';
import { failsAs, type Plane } from '../plane.ts';
import { createAdmins, type Admin, type Wanted } from '../../custody/admins.ts';

export interface Migration {
  tenant: TestTenant;
  people: Admin[];
  ref: { tenantId: string; migrationId: string };
  newSigner: Hex;
}

export interface Steps {
  custody: CustodySigningActivities;
  admins: ReturnType<typeof createAdmins>;
  /** A tenant with two admins and at least two final seals. */
  tenant(): Promise<{ tenant: TestTenant; people: Admin[] }>;
  /** Records, periods and their seals, signed, and anchored unless told otherwise. @returns the newest seq */
  seal(tenant: TestTenant, options?: { anchor?: boolean }): Promise<number>;
  begin(
    of: { tenant: TestTenant; people: Admin[] },
    wanted: Wanted,
    prepare?: (ref: Migration['ref']) => Promise<unknown>,
  ): Promise<Migration>;
  /** Approvals, possession and trial. */
  prove(migration: Migration): Promise<void>;
  /** Both keys sign, and the proposal becomes final. */
  propose(migration: Migration): Promise<Hex>;
  /** Waits for the cooling-off, and has the new key accept. */
  accept(migration: Migration): Promise<{ seq: number; head: Hex }>;
  /** Sends what there is and follows it until it is final. */
  settle(): Promise<void>;
  /** Ends a migration's row, as the saga does. */
  end(migration: Migration, outcome: 'completed' | 'undone'): Promise<void>;
  state(tenant: TestTenant): Promise<LogState>;
}

export function createSteps(plane: Plane): Steps {
  const custody = plane.custody();
  const admins = createAdmins(plane);

  async function seal(tenant: TestTenant, { anchor = true } = {}): Promise<number> {
    await plane.post(tenant, 2);
    const seq = await plane.collect(tenant);
    await plane.sign(tenant);
    if (anchor) await plane.anchorAll();
    return seq;
  }

  /** Blocks come until what was sent is final. */
  async function settle(): Promise<void> {
    await plane.sendAll();
    await plane.anchorAll();
    for (let block = 0; block < 4; block++) await plane.mine();
    await plane.anchoring.confirmSeals();
  }

  return {
    custody,
    admins,
    seal,
    settle,
    async tenant() {
      const tenant = await plane.tenant();
      const people = await admins.admins(tenant, 2);
      while ((await seal(tenant)) < 2);
      return { tenant, people };
    },
    async begin({ tenant, people }, wanted, prepare) {
      const migrationId = await admins.start(tenant, people[0]!, wanted);
      const ref = { tenantId: tenant.id, migrationId };
      await prepare?.(ref);
      const found = await custody.identifySigner(ref);
      assert.ok(found.ok, JSON.stringify(found));
      await admins.name(migrationId, found);
      return { tenant, people, ref, newSigner: found.newSigner };
    },
    async prove({ tenant, people, ref }) {
      for (const admin of people) await admins.approve(tenant, admin, ref.migrationId);
      await custody.custodyProof(ref);
      for (const seq of [1, 2]) await custody.shadowSeal({ ...ref, seq });
    },
    async propose({ ref }) {
      const { handoverHash } = await custody.handover(ref);
      await settle();
      return handoverHash;
    },
    async accept({ ref }) {
      for (;;) {
        try {
          return await custody.handoverAccept(ref);
        } catch (error) {
          failsAs('acceptance-early')(error);
          await delay(100);
          await plane.mine();
        }
      }
    },
    async end({ ref }, outcome) {
      await plane.database.sql(
        `UPDATE kiff.custody_migrations SET ended_at = clock_timestamp(), outcome = $2,
                reason = CASE WHEN $2 = 'undone' THEN 'test' END WHERE id = $1`,
        [ref.migrationId, outcome],
      );
    },
    state: (tenant) => readLogState(plane.chain, plane.registry.address, tenant.logId),
  };
}
