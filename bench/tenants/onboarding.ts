/**
 * Many tenants onboarded by the activities that the workflow calls, in its order and several at a time: schema and logins,
 * KMS key over HTTP, log identity, registration on a chain that mines at once, activation, first API key. What is looked for is
 * whether the thousandth takes longer than the first.
 */
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { KMSClient } from '@aws-sdk/client-kms';
import pg from 'pg';
import { createTestClient, http, parseEther } from 'viem';
import { privateKeyToAccount } from 'viem/accounts';
import { createAnchoringActivities } from '../../activities/anchoring/create.ts';
import { createRelayer } from '../../activities/anchoring/relayer.ts';
import { connectAllEndpoints } from '../../workers/chain.ts';
import { createPool } from '../../activities/database.ts';
import type { Alert } from '../../activities/failures.ts';
import { createKeyAdminActivities, ensureDeploymentKeys } from '../../activities/keyadmin/create.ts';
import { keyAddress, RELAYER_ALIAS } from '../../activities/kms/keys.ts';
import { createLogActivities } from '../../activities/log/create.ts';
import { createMigrationActivities } from '../../activities/migration/create.ts';
import { createApiKey } from '../../api/ingest/api-key.ts';
import { deployRegistry } from '../../contracts/deploy.ts';
import { startAnvil, type Anvil } from '../../dev/anvil.ts';
import { startKms } from '../../dev/kms/server.ts';
import { ACCESS_KEYS, LOCAL_ROLES, localPrincipals } from '../../dev/kms-roles.ts';
import type { Hex } from '../../protocol/hex.ts';
import { HOST, INCARNATION, PERIOD_SECONDS, type Ground } from '../ground.ts';

/** anvil's first account: a published test key. */
const DEPLOYER = privateKeyToAccount('0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80');
const SIMULTANEOUS = 4;
const LOOK = 20;

export interface OnboardedTenant {
  id: string;
  apiKey: string;
  /** From its first step until it could be used. */
  seconds: number;
}

/** A chain that mines each transaction at once, with the contract on it. */
export async function startChain(directory: string): Promise<{ anvil: Anvil; contract: Hex; fromBlock: number }> {
  const anvil = await startAnvil({ logFile: join(directory, 'anvil.log') });
  const { rpcUrl, chainId } = anvil;
  const { address, fromBlock } = await deployRegistry({
    rpcUrl,
    chainId,
    account: DEPLOYER,
    periodSeconds: PERIOD_SECONDS,
    coolingOffSeconds: 60,
  });
  return { anvil, contract: address, fromBlock };
}

/** Nothing here is a reason for one. */
const alert: Alert = (name, fields) => {
  throw new Error(`alert: ${name} ${JSON.stringify(fields)}`);
};

/** @returns the tenants in the order in which they began */
export async function onboard(
  ground: Ground,
  chain: { anvil: Anvil; fromBlock: number },
  count: number,
  tell: (done: number) => void,
): Promise<OnboardedTenant[]> {
  const { rpcUrl, chainId } = chain.anvil;
  const secret = 'a secret for the bench';
  const secrets = { signer: secret, relayer: secret, admin: secret, breakGlass: secret, tenant: secret };
  const kms = await startKms({ principals: localPrincipals(secrets) });
  const kmsAs = (role: 'admin' | 'relayer') =>
    new KMSClient({
      endpoint: kms.url,
      region: 'eu-central-1',
      credentials: { accessKeyId: ACCESS_KEYS[role], secretAccessKey: secret },
    });
  const clients = { admin: kmsAs('admin'), relayer: kmsAs('relayer') };
  const pool = (login: 'kiff_sealing' | 'kiff_anchoring') =>
    createPool(ground.url(login), 8, { schema: 'kiff', name: INCARNATION });
  const pools = { sealing: pool('kiff_sealing'), anchoring: pool('kiff_anchoring') };
  const operator = new pg.Pool({ connectionString: ground.url('kiff_operator'), max: 4 });

  const keyAdminDeps = { kms: clients.admin, roles: LOCAL_ROLES, onboardingAbandoned: async () => false, alert };
  await ensureDeploymentKeys(keyAdminDeps);
  const keyAdmin = createKeyAdminActivities(keyAdminDeps);
  const migration = createMigrationActivities({
    url: ground.url('kiff_migrate'),
    secrets: {
      tenant: Buffer.from(ground.secrets.tenantLogin, 'hex'),
      custody: Buffer.from(ground.secrets.custodyLogin, 'hex'),
    },
    incarnation: INCARNATION,
    alert,
  });
  const log = createLogActivities({ pool: pools.sealing, host: HOST, alert, heartbeat: () => undefined });
  const relayer = createRelayer(clients.relayer, await keyAddress(clients.relayer, RELAYER_ALIAS));
  await createTestClient({ mode: 'anvil', transport: http(rpcUrl) }).setBalance({
    address: relayer.address,
    value: parseEther('100'),
  });
  const { tip, each, agreed } = await connectAllEndpoints([rpcUrl], chainId, alert);
  const anchoring = createAnchoringActivities({
    pool: pools.anchoring,
    chain: tip,
    endpoints: each,
    agreed,
    chainId,
    contract: ground.contract,
    fromBlock: BigInt(chain.fromBlock),
    relayer,
    alert,
    fees: { ceiling: 100_000_000_000n, patienceBlocks: 5n },
    tell: () => undefined,
    now: Date.now,
    leaseSeconds: 60,
    run: () => 'the bench',
    nudgeSeal: async () => undefined,
    nudgeCustody: async () => undefined,
    nudgeWallet: async () => undefined,
  });

  async function one(index: number): Promise<OnboardedTenant> {
    const tenantId = `t${String(index).padStart(5, '0')}`;
    const began = performance.now();
    await migration.beginTenant({ tenantId });
    const { genesisSigner } = await keyAdmin.createTenantKey({ tenantId });
    await log.openLog({ tenantId, genesisSigner });
    while (!(await log.logRegistered({ tenantId }))) await delay(LOOK);
    await log.activateTenant({ tenantId });
    const { id, key, hash } = createApiKey(tenantId);
    await operator.query('SELECT kiff.add_first_key($1, $2, $3, $4)', [tenantId, id, hash, 'bench']);
    return { id: tenantId, apiKey: key, seconds: (performance.now() - began) / 1000 };
  }

  const done = new AbortController();
  /** As the wallet's workflow goes round, without its pauses. */
  async function wallet(): Promise<void> {
    while (!done.signal.aborted) {
      const { inFlight } = await anchoring.nextTransaction();
      if (inFlight === null) await delay(LOOK);
      else while (!(await anchoring.advanceTransaction(inFlight)).mined) await delay(LOOK);
    }
  }

  const tenants: OnboardedTenant[] = [];
  let next = 0;
  async function lane(): Promise<void> {
    while (next < count) {
      const index = next++;
      tenants[index] = await one(index);
      tell(tenants.length);
    }
  }
  const registering = wallet();
  try {
    await Promise.race([Promise.all(Array.from({ length: SIMULTANEOUS }, lane)), registering]);
  } finally {
    done.abort();
    await registering;
    await Promise.all([pools.sealing.end(), pools.anchoring.end(), operator.end()]);
    for (const client of Object.values(clients)) client.destroy();
    await kms.stop();
  }
  return tenants;
}
