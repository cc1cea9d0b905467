/**
 * The sealing plane without Temporal: the real activities on a real database, journal, chain and KMS stand-in, called
 * one by one, so that a test can stop anywhere and spoil anything in between. A period is one second here.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { KMSClient } from '@aws-sdk/client-kms';
import type pg from 'pg';
import { createTestClient, http, parseEther, type PublicClient } from 'viem';
import { privateKeyToAccount } from 'viem/accounts';
import { createAnchoringActivities } from '../../activities/anchoring/create.ts';
import { createRelayer } from '../../activities/anchoring/relayer.ts';
import { createPool, type Incarnation } from '../../activities/database.ts';
import type { Alert } from '../../activities/failures.ts';
import { onboardingAbandoned } from '../../activities/keyadmin/abandoned.ts';
import { createKeyAdminActivities, ensureDeploymentKeys } from '../../activities/keyadmin/create.ts';
import { keyAddress, RELAYER_ALIAS } from '../../activities/kms/keys.ts';
import { createLogActivities } from '../../activities/log/create.ts';
import { createSigningActivities, type SigningDependencies } from '../../activities/signing/create.ts';
import {
  createCustodySigningActivities,
  type CustodySigningActivities,
  type CustodySigningDependencies,
} from '../../activities/signing/custody/create.ts';
import { createCustodyJournal } from '../../activities/signing/custody/journal.ts';
import { createSessionJudge } from '../../activities/signing/custody/session.ts';
import { createJournal } from '../../activities/signing/journal.ts';
import { deployRegistry, type DeployedRegistry } from '../../contracts/deploy.ts';
import { ACCESS_KEYS, LOCAL_ROLES, localPrincipals } from '../../dev/kms-roles.ts';
import { connectControl, type KmsControl } from '../../dev/kms/control.ts';
import { startKms } from '../../dev/kms/server.ts';
import { connectAgreedChain, connectAllEndpoints, connectChain } from '../../workers/chain.ts';
import type { Hex } from '../../protocol/hex.ts';
import { JWT_KEY, PARTY } from '../api/session-tokens.ts';
import { anvil } from '../parts.ts';
import { accept } from '../sql/batch.ts';
import { createProductDatabase, type ProductDatabase, type TestTenant } from '../product-database.ts';
import { connectUpstream } from '../weather/upstream.ts';

process.env['AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED'] = 'true';

const DEPLOYER = privateKeyToAccount('0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80');
const PERIOD = 1;
/** Where the custody API would be. */
export const CUSTODY_ORIGIN = 'http://localhost:8081';
const REGION = 'eu-central-1';
const CONTROL_TOKEN = 'a token for the tests';
const KMS_SECRET = 'a secret for the tests';

export type Role = 'signer' | 'relayer' | 'admin' | 'breakGlass' | 'tenant';

export interface Plane {
  database: ProductDatabase;
  registry: DeployedRegistry;
  relayer: Hex;
  chain: PublicClient;
  kms: KmsControl;
  /** Hears alerts, for what a test makes itself. */
  alert: Alert;
  /** What was alerted since the last look. */
  alerts(): { name: string; fields: Readonly<Record<string, string | number>> }[];
  /** What the anchoring activities told since the last look: names of events, in order. */
  events(): string[];
  /** @param endpoint of the stand-in, or of what stands in front of it */
  kmsAs(role: Role, endpoint?: string): KMSClient;
  log: ReturnType<typeof createLogActivities>;
  keyAdmin: ReturnType<typeof createKeyAdminActivities>;
  signing: ReturnType<typeof createSigningActivities>;
  /** A signer that has forgotten what it holds in memory, as after a restart; on another journal if one is given. */
  newSigner(journalUrl?: string, deps?: Partial<SigningDependencies>): ReturnType<typeof createSigningActivities>;
  /** The signer's part in migrations of custody; passkeys count at once unless told otherwise. */
  custody(deps?: Partial<CustodySigningDependencies>): CustodySigningActivities;
  /** Where the KMS stand-in listens. */
  kmsUrl: string;
  anchoring: ReturnType<typeof createAnchoringActivities>;
  /** The anchoring activities as another workflow run would call them. */
  anchoringAs(run: string | (() => string)): ReturnType<typeof createAnchoringActivities>;
  /** A tenant with a KMS key, registered on chain unless told otherwise. Its first period begins now, or `periods` ago. */
  tenant(options?: { register?: boolean; periods?: number }): Promise<TestTenant>;
  /** New tenants with so many signed seals each, which are in no block. */
  signed(count: number): Promise<TestTenant>;
  signedTogether(...counts: number[]): Promise<TestTenant[]>;
  /** Hashes and signs what is collected of a tenant's log. */
  sign(tenant: TestTenant): Promise<void>;
  /** The levels of a tenant's seals, in order. */
  levels(tenant: TestTenant): Promise<string[]>;
  /** Puts `count` records into a tenant's log. */
  post(tenant: TestTenant, count: number): Promise<void>;
  /** Waits until the current period is over and collects it. @returns the newest seq */
  collect(tenant: TestTenant): Promise<number>;
  /** Sends until there is nothing to send. */
  sendAll(): Promise<void>;
  /** Anchors what is signed and follows it until it is final. */
  anchorAll(): Promise<void>;
  /** Gives the chain a block with the time of day. */
  mine(): Promise<void>;
  /** Gives the workers another configuration: what they connect to from now on must be opened under this name. */
  configure(incarnation: string): void;
  /** The level of a seal of the tenant's current log. */
  level(tenant: TestTenant, seq: number): Promise<string>;
  /** Why the tenant's log is frozen, or null. */
  frozen(tenant: TestTenant): Promise<string | null>;
  /** Takes a freeze away, as only a superuser can past `kiff recover`. */
  unfreeze(tenant: TestTenant): Promise<void>;
  stop(): Promise<void>;
}

export interface PlaneOptions {
  /** The chain; the test run's own unless given. */
  node?: { rpcUrl: string; chainId: number };
  /** What the anchoring activities are given in place of the node itself. */
  anchoringUrls?: readonly string[];
  /** The contract's; a minute unless given. */
  coolingOffSeconds?: number;
}

export async function createPlane(options: PlaneOptions = {}): Promise<Plane> {
  const { rpcUrl, chainId } = options.node ?? (await anvil());
  const chain = await connectChain(rpcUrl, chainId);
  const registry = await deployRegistry({
    rpcUrl,
    chainId,
    account: DEPLOYER,
    periodSeconds: PERIOD,
    coolingOffSeconds: options.coolingOffSeconds ?? 60,
  });
  const contract = registry.address;
  const database = await createProductDatabase({ periodSeconds: PERIOD, chainId, contract });
  const secrets = {
    signer: KMS_SECRET,
    relayer: KMS_SECRET,
    admin: KMS_SECRET,
    breakGlass: KMS_SECRET,
    tenant: KMS_SECRET,
  };
  const kms = await startKms({ principals: localPrincipals(secrets), controlToken: CONTROL_TOKEN });

  const closers: (() => unknown)[] = [];
  let configured = database.incarnation;
  const kmsAs = (role: Role, endpoint = kms.url): KMSClient => {
    const credentials = { accessKeyId: ACCESS_KEYS[role], secretAccessKey: KMS_SECRET };
    const client = new KMSClient({ endpoint, region: REGION, credentials, maxAttempts: 1 });
    closers.push(() => client.destroy());
    return client;
  };
  const pool = (url: string, schema: Incarnation['schema'] = 'kiff') => {
    const made = createPool(url, 4, {
      schema,
      get name() {
        return configured;
      },
    });
    closers.push(() => made.end());
    return made;
  };

  let events: string[] = [];
  let alerted: { name: string; fields: Readonly<Record<string, string | number>> }[] = [];
  const alert: Alert = (name, fields) => alerted.push({ name, fields });

  const keyAdminPool = pool(database.urls.kiff_keyadmin);
  const keyAdminDeps = {
    kms: kmsAs('admin'),
    roles: LOCAL_ROLES,
    onboardingAbandoned: (tenantId: string) => onboardingAbandoned(keyAdminPool, tenantId),
    alert,
  };
  await ensureDeploymentKeys(keyAdminDeps);
  const keyAdmin = createKeyAdminActivities(keyAdminDeps);
  const relayer = createRelayer(kmsAs('relayer'), await keyAddress(kmsAs('relayer'), RELAYER_ALIAS));
  const devnet = createTestClient({ mode: 'anvil', transport: http(rpcUrl) });
  await devnet.setBalance({ address: relayer.address, value: parseEther('10') });

  const agreedChain = await connectAgreedChain([rpcUrl], chainId, alert);
  const log = createLogActivities({
    pool: pool(database.urls.kiff_sealing),
    host: database.host,
    alert,
    heartbeat: () => undefined,
  });
  const signingPool = pool(database.urls.kiff_signing);
  const signerWith = (journalPool: pg.Pool) => ({
    pool: signingPool,
    journal: createJournal(journalPool),
    custodyJournal: createCustodyJournal(journalPool),
    fromBlock: BigInt(registry.fromBlock),
    kms: kmsAs('signer'),
    chain: agreedChain,
    registry: { chainId, contract },
    host: database.host,
    periodSeconds: PERIOD,
    roles: LOCAL_ROLES,
    alert,
    heartbeat: () => undefined,
    now: Date.now,
  });
  const newSigner = (journalUrl = database.urls.kiff_journal, deps: Partial<SigningDependencies> = {}) =>
    createSigningActivities({ ...signerWith(pool(journalUrl, 'journal')), ...deps });
  const signing = newSigner();
  const custody = (deps: Partial<CustodySigningDependencies> = {}) =>
    createCustodySigningActivities({
      ...signerWith(pool(database.urls.kiff_journal, 'journal')),
      region: REGION,
      judgeSession: createSessionJudge({ jwtKey: JWT_KEY, authorizedParties: [PARTY] }),
      custodyOrigin: CUSTODY_ORIGIN,
      passkeyMinAgeSeconds: 0,
      ...deps,
    });
  const anchoringPool = pool(database.urls.kiff_anchoring);
  const { tip, each, agreed } = await connectAllEndpoints(options.anchoringUrls ?? [rpcUrl], chainId, alert);
  const anchoringAs = (run: string | (() => string)) =>
    createAnchoringActivities({
      pool: anchoringPool,
      chain: tip,
      endpoints: each,
      agreed,
      chainId,
      contract,
      fromBlock: BigInt(registry.fromBlock),
      relayer,
      alert,
      fees: { ceiling: 100_000_000_000n, patienceBlocks: 5n },
      tell: (event) => events.push(event),
      now: Date.now,
      leaseSeconds: 60,
      run: typeof run === 'string' ? () => run : run,
      nudgeSeal: async () => undefined,
      nudgeCustody: async () => undefined,
      nudgeWallet: async () => undefined,
    });
  const anchoring = anchoringAs('the first run');

  /** A block with the time of day: a reorganisation, which the test run's chain may have had, sets its clock back for good. */
  async function mine(): Promise<void> {
    await connectUpstream(rpcUrl).result('evm_setTime', Math.floor(Date.now() / 1_000));
    await devnet.mine({ blocks: 1 });
  }

  /** Sends until there is nothing to send; anvil mines each transaction at once. */
  async function send(): Promise<void> {
    for (;;) {
      await mine(); // a call sees the time of the newest block, and this chain mines on demand only
      const { inFlight, early } = await anchoring.nextTransaction();
      if (inFlight === null) {
        if (early === 0) return;
        await delay(50); // the second is not over yet
        continue;
      }
      while (!(await anchoring.advanceTransaction(inFlight)).mined) await delay(20);
    }
  }

  async function createTenant({ register = true, periods = 0 } = {}): Promise<TestTenant> {
    const id = `t${Date.now().toString(36)}${Math.floor(Math.random() * 1e6).toString(36)}`;
    const { genesisSigner } = await keyAdmin.createTenantKey({ tenantId: id });
    const begins = periods === 0 ? {} : { firstPeriod: Math.floor(Date.now() / 1000) - periods * PERIOD };
    const made = await database.createTenant({ id, genesisSigner, ...begins });
    if (register) await send();
    return made;
  }

  async function signedTogether(...counts: number[]): Promise<TestTenant[]> {
    const made: TestTenant[] = [];
    for (const count of counts) made.push(await createTenant({ periods: count })); // which anchors what there is
    for (const [index, tenant] of made.entries()) {
      const period = tenant.firstPeriod + (counts[index]! - 1) * PERIOD;
      await log.collect({ tenantId: tenant.id, period });
      await sign(tenant);
    }
    return made;
  }

  async function sign({ id: tenantId }: TestTenant): Promise<void> {
    const throughSeq = 2 ** 24 - 1;
    await log.hashSeals({ tenantId, throughSeq });
    await signing.signSeals({ tenantId, seqs: await log.unsignedSeals({ tenantId, throughSeq }) });
  }

  return {
    database,
    registry,
    relayer: relayer.address,
    chain,
    kms: connectControl({ url: kms.url, token: CONTROL_TOKEN }),
    alerts() {
      const seen = alerted;
      alerted = [];
      return seen;
    },
    events() {
      const seen = events;
      events = [];
      return seen;
    },
    alert,
    kmsAs,
    kmsUrl: kms.url,
    log,
    keyAdmin,
    signing,
    newSigner,
    custody,
    anchoring,
    anchoringAs,
    tenant: createTenant,
    async signed(count) {
      const [made] = await signedTogether(count);
      return made!;
    },
    signedTogether,
    sign,
    async levels({ id }) {
      const rows = await database.sql<{ level: string }>(`SELECT level FROM kiff_t_${id}.seals ORDER BY seq`);
      return rows.map(({ level }) => level);
    },
    async post(tenant, count) {
      const client = await database.connect(tenant.url);
      for (let posted = 0; posted < count; posted += 1_000) {
        const ids = Array.from({ length: Math.min(1_000, count - posted) }, () => crypto.randomUUID());
        await accept(client, tenant, ids, tenant.keyId);
      }
      await client.end();
    },
    async collect(tenant) {
      const [now] = await database.sql<{ period: number }>(
        'SELECT floor(extract(epoch FROM clock_timestamp()))::bigint AS period',
      );
      for (;;) {
        try {
          const newest = await log.collect({ tenantId: tenant.id, period: now!.period });
          if (newest === null) throw new Error('nothing was collected');
          return newest.seq;
        } catch (error) {
          if ((error as { code?: string }).code !== 'KF004') throw error; // the period is not over
          await delay(50);
        }
      }
    },
    sendAll: send,
    async anchorAll() {
      await send();
      for (;;) {
        const { waiting } = await anchoring.confirmSeals();
        if (waiting === 0) return;
        await mine();
      }
    },
    mine,
    configure(incarnation) {
      configured = incarnation;
    },
    async level(tenant, seq) {
      const [row] = await database.sql<{ level: string }>(
        `SELECT level FROM kiff_t_${tenant.id}.seals WHERE seq = $1`,
        [seq],
      );
      return row!.level;
    },
    async frozen(tenant) {
      const [row] = await database.sql<{ frozen_reason: string | null }>(
        'SELECT frozen_reason FROM kiff.logs WHERE tenant = $1',
        [tenant.id],
      );
      return row!.frozen_reason;
    },
    async unfreeze(tenant) {
      await database.sql('UPDATE kiff.logs SET frozen_reason = NULL, frozen_at = NULL WHERE tenant = $1', [tenant.id]);
    },
    async stop() {
      await kms.stop();
      await Promise.all(closers.map((close) => close()));
      await database.drop();
    },
  };
}

/** Matches a failure by its type; for assert.rejects. */
export const failsAs = (type: string) => (error: unknown) => {
  if ((error as { type?: unknown }).type !== type) throw error as Error;
  return true;
};
