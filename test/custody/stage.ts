/**
 * A custody migration on real parts in this process: commands, inbox, workers of four queues, Temporal, PostgreSQL, journal, the KMS
 * stand-in with two accounts, a chain with a block every second, the wallet. A period is one second. Seals are made by a loop of the stage
 * in place of the schedule, so that a test can stop it; everything else is as in the processes.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { Context } from '@temporalio/activity';
import { pino } from 'pino';
import { createCommandActivities } from '../../activities/commands/create.ts';
import { createCustodyActivities } from '../../activities/custody/create.ts';
import { CUSTODY_DEFAULTS, type CustodyPolicy } from '../../activities/custody/policy.ts';
import { createPool } from '../../activities/database.ts';
import { failureType } from '../../activities/failures.ts';
import { createCustodyKeyActivities } from '../../activities/keyadmin/custody.ts';
import { readLogState, type LogState } from '../../activities/chain/registry.ts';
import { startAnvil } from '../../dev/anvil.ts';
import { LOCAL_ROLES } from '../../dev/kms-roles.ts';
import { toHex } from '../../protocol/hex.ts';
import { startInbox, startWith } from '../../workers/sealing/inbox.ts';
import { ANCHORING_QUEUE, custodyId, KEYADMIN_QUEUE, SEALING_QUEUE, SIGNING_QUEUE } from '../../workflows/ids.ts';
import { createPlane, type Plane } from '../activities/plane.ts';
import { until } from '../main-job/client.ts';
import { startOwnTemporal, type OwnTemporal } from '../own-temporal.ts';
import { startOwnWorkers } from '../own-workers.ts';
import type { TestTenant } from '../product-database.ts';
import { createTenantKey, type TenantKey } from '../tenant-kms.ts';
import { createAdmins, type Admin, type Admins, type Outcome, type Wanted } from './admins.ts';

/** Seconds. A migration takes the time of a few blocks. */
export const POLICY: CustodyPolicy = {
  ...CUSTODY_DEFAULTS,
  approvals: 20,
  handoverExpiry: 60,
  observation: 0,
  deletionWindow: 7 * 86_400,
};
/** Longer than a proposal takes to be final here, which is two blocks. */
const COOLING_OFF_SECONDS = 6;

/** Milliseconds. */
const PATIENCE = 120_000;

/** What its admins do. */
export interface People {
  /** Asks for a migration. @returns its id, which is also the command's ref */
  start(by: Admin, wanted: Wanted): Promise<string>;
  approve(by: Admin, migration: string): Promise<unknown>;
  /** @returns the command's ref */
  veto(by: Admin, migration: string, kind?: 'veto' | 'cancel'): Promise<string>;
  leaves: Admins['leaves'];
  /** Removes a passkey, one's own or another admin's. */
  remove(by: Admin, passkey: string): Promise<unknown>;
  answer(ref: string): Promise<Outcome>;
}

/** A tenant with two admins, whose log is sealed every second. */
export interface Company {
  tenant: TestTenant;
  people: People;
  admins: readonly [Admin, Admin];
  /** A key in the tenant's own account. */
  key(): Promise<TenantKey>;
  /** Asks for a migration and approves it twice. @returns its id, which is also the command's ref */
  migrate(wanted: Wanted): Promise<string>;
  /** Waits until a step of a migration stands so. */
  reached(migration: string, step: string, state?: string): Promise<void>;
  steps(migration: string): Promise<string[]>;
  /** Why the directory, the chain and the keys do not agree on who signs, or nothing. */
  disagreement(migration: string): Promise<string | null>;
  /** What the chain says of the log. */
  onChain(): Promise<LogState>;
  /** Waits until `more` further seals are in a block. */
  sealed(more: number): Promise<void>;
}

export interface Stage {
  plane: Plane;
  temporal: OwnTemporal;
  rpcUrl: string;
  company(): Promise<Company>;
  stop(): Promise<void>;
}

export async function createStage(policy: Partial<CustodyPolicy> = {}): Promise<Stage> {
  const folder = mkdtempSync(join(tmpdir(), 'kiff-cloud-custody-'));
  const node = await startAnvil({ logFile: join(folder, 'anvil.log'), blockTime: 1 });
  const [plane, temporal] = await Promise.all([
    createPlane({ node, coolingOffSeconds: COOLING_OFF_SECONDS }),
    startOwnTemporal(),
  ]);
  const { urls } = plane.database;
  const pool = createPool(urls.kiff_sealing, 12);
  const keyadminPool = createPool(urls.kiff_keyadmin, 2);
  const log = pino({ level: 'silent' });
  const alert = plane.alert;
  const kms = plane.kmsAs('admin');
  const queues: [string, object][] = [
    [
      SEALING_QUEUE,
      {
        ...plane.log,
        ...createCommandActivities({ pool }),
        ...createCustodyActivities({ pool, alert, policy: { ...POLICY, ...policy } }),
      },
    ],
    [
      KEYADMIN_QUEUE,
      { ...plane.keyAdmin, ...createCustodyKeyActivities({ kms, roles: LOCAL_ROLES, pool: keyadminPool, alert }) },
    ],
    [SIGNING_QUEUE, { ...plane.signing, ...plane.custody() }],
    [ANCHORING_QUEUE, plane.anchoringAs(() => Context.current().info.workflowExecution?.runId ?? '')],
  ];
  const workers = await startOwnWorkers(temporal, queues, alert);
  await temporal.client.workflow.start('anchorWallet', {
    workflowId: 'wallet',
    taskQueue: SEALING_QUEUE,
    args: [{ pollSeconds: 1, idleSeconds: 1 }],
  });
  const inbox = startInbox({ pool, databaseUrl: urls.kiff_sealing, start: startWith(temporal.client), log });

  const evidence = createAdmins(plane);
  const companies: { company: Company; running: Promise<void> }[] = [];
  const over = new AbortController();

  /** One seal after the other, as the schedule would have them. What cannot be signed now waits. */
  async function keepSealing(tenant: TestTenant): Promise<void> {
    while (!over.signal.aborted) {
      try {
        await plane.collect(tenant);
        await plane.sign(tenant);
      } catch (error) {
        if (over.signal.aborted) return;
        if (failureType(error) === undefined) throw error;
        await delay(200);
      }
    }
  }

  async function createCompany(): Promise<Company> {
    const tenant = await plane.tenant({ register: false });
    const onChain = () => readLogState(plane.chain, plane.registry.address, tenant.logId);
    await until('the log to be registered', async () => (/^0x0+$/.test((await onChain()).signer) ? undefined : true));
    const [first, second] = await evidence.admins(tenant, 2);
    const admins = [first!, second!] as const;
    const people: People = {
      leaves: (admin) => evidence.leaves(admin),
      answer: (ref) => evidence.answer(ref),
      start: async (by, wanted) => (await evidence.ask(tenant, by, wanted)).migration,
      approve: (by, migration) => evidence.approve(tenant, by, migration),
      remove: (by, passkey) => evidence.remove(tenant, by, passkey),
      veto: (by, migration, kind) => evidence.veto(tenant, by, migration, kind),
    };
    const company: Company = {
      tenant,
      people,
      admins,
      key: () => createTenantKey(plane.kmsAs('tenant'), tenant.origin),
      async migrate(wanted) {
        const migration = await people.start(admins[0], wanted);
        for (const admin of admins) await people.approve(admin, migration);
        return migration;
      },
      reached: (migration, step, state = 'done') =>
        until(
          `${step} to be ${state}`,
          async () => {
            const [row] = await plane.database.sql(
              'SELECT FROM kiff.custody_steps WHERE migration = $1 AND step = $2 AND state = $3',
              [migration, step, state],
            );
            if (row !== undefined) return true;
            const { state: answered, reason } = (await evidence.standing(migration)) ?? {};
            if (answered !== undefined && answered !== 'started') throw new Error(`it ended: ${answered} ${reason}`);
            return undefined;
          },
          PATIENCE,
        ).then(() => undefined),
      async steps(migration) {
        const rows = await plane.database.sql<{ at: string }>(
          `SELECT step || ' ' || state AS at FROM kiff.custody_steps WHERE migration = $1 ORDER BY id`,
          [migration],
        );
        return rows.map(({ at }) => at);
      },
      async disagreement(migration) {
        const [row] = await plane.database.sql<{
          outcome: string | null;
          epoch_to: number;
          signer: Buffer;
          epoch: number;
          held: boolean;
          from_signer: Buffer;
          new_signer: Buffer | null;
          alive: boolean;
        }>(
          `SELECT m.outcome, m.epoch_to, coalesce(l.current_signer, l.genesis_signer) AS signer, l.epoch, l.held_since IS NOT NULL AS held,
                  m.from_signer, m.new_signer, kiff.live_handover(m.id) AND NOT kiff.handed_over(m.id) AS alive
             FROM kiff.custody_migrations m JOIN kiff.logs l ON l.tenant = m.tenant WHERE m.id = $1`,
          [migration],
        );
        const state = await onChain();
        const wholly = row!.outcome === 'completed' ? row!.new_signer : row!.from_signer;
        const epoch = row!.outcome === 'completed' ? row!.epoch_to : row!.epoch_to - 1;
        const problems = [
          row!.outcome === null && 'it has not ended',
          row!.held && 'the log is held',
          row!.alive && 'a handover is alive',
          (wholly === null || toHex(wholly) !== toHex(row!.signer) || epoch !== row!.epoch) &&
            'the directory has another signer',
          (toHex(row!.signer) !== state.signer || row!.epoch !== state.epoch) && 'the chain has another signer',
        ].filter((problem) => problem !== false);
        return problems.length === 0 ? null : problems.join(', ');
      },
      onChain,
      async sealed(more) {
        const { seq } = await onChain();
        await until(
          `seal ${seq + more} in a block`,
          async () => ((await onChain()).seq >= seq + more ? true : undefined),
          PATIENCE,
        );
      },
    };
    companies.push({ company, running: keepSealing(tenant) });
    return company;
  }

  return {
    plane,
    temporal,
    rpcUrl: node.rpcUrl,
    company: createCompany,
    async stop() {
      over.abort();
      await Promise.all(companies.map(({ running }) => running));
      await inbox.stop();
      for (const { company } of companies) {
        await temporal.client.workflow
          .getHandle(custodyId(company.tenant.id))
          .terminate()
          .catch(() => undefined);
      }
      await temporal.client.workflow.getHandle('wallet').terminate();
      await workers.stop();
      await Promise.all([pool.end(), keyadminPool.end()]);
      await plane.stop();
      await temporal.stop();
      await node.stop();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}
