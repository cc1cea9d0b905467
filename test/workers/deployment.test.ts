/** A worker that sees the contract does not start on a database of another period, contract or chain. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { privateKeyToAccount } from 'viem/accounts';
import { deployRegistry, type DeployedRegistry } from '../../contracts/deploy.ts';
import { startProcess } from '../../dev/process.ts';
import { packageRoot } from '../../dev/root.ts';
import { requireDeployment } from '../../workers/deployment.ts';
import { anvil } from '../parts.ts';
import { JWT_KEY, PARTY } from '../api/session-tokens.ts';
import { createProductDatabase, type ProductDatabase } from '../product-database.ts';

const DEPLOYER = privateKeyToAccount('0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80');
const PERIOD = 77;

const role = (name: string) => `arn:aws:iam::000000000000:role/${name}`;

describe('the deployment that a worker starts on', function () {
  this.timeout(60_000);
  const folder = mkdtempSync(join(tmpdir(), 'kiff-cloud-deployment-'));
  let chain: { rpcUrl: string; chainId: number };
  let registry: DeployedRegistry;
  let database: ProductDatabase;
  before(async () => {
    chain = await anvil();
    registry = await deployRegistry({ ...chain, account: DEPLOYER, periodSeconds: PERIOD, coolingOffSeconds: 60 });
    database = await createProductDatabase({ periodSeconds: PERIOD + 1, ...chain, contract: registry.address });
  });
  after(async () => {
    await database.drop();
    rmSync(folder, { recursive: true });
  });

  /** Starts the worker with everything it needs to come as far as the comparison, and nothing of what comes after it. */
  async function starts(worker: 'signing' | 'anchoring'): Promise<unknown> {
    const nowhere = 'http://127.0.0.1:1';
    return startProcess({
      name: worker,
      entry: join(packageRoot, `dist/workers/${worker}/main.js`),
      env: {
        DATABASE_URL: database.urls[`kiff_${worker}`],
        JOURNAL_URL: database.urls.kiff_journal,
        BASE_RPC_URL: chain.rpcUrl,
        BASE_RPC_URLS: chain.rpcUrl,
        CHAIN_ID: String(chain.chainId),
        CONTRACT: registry.address,
        FROM_BLOCK: '0',
        KIFF_HOST: database.host,
        CLERK_JWT_KEY: JWT_KEY,
        CLERK_AUTHORIZED_PARTIES: PARTY,
        CUSTODY_ORIGIN: PARTY,
        KIFF_INCARNATION: database.incarnation,
        TEMPORAL_ADDRESS: '127.0.0.1:1',
        AWS_ENDPOINT_URL_KMS: nowhere,
        AWS_REGION: 'eu-central-1',
        AWS_ACCESS_KEY_ID: 'none',
        AWS_SECRET_ACCESS_KEY: 'none',
        AWS_MAX_ATTEMPTS: '1',
        KMS_SIGNER_ARN: role('signer'),
        KMS_RELAYER_ARN: role('relayer'),
        KMS_ADMIN_ARN: role('admin'),
        KMS_BREAK_GLASS_ARN: role('break-glass'),
      },
      logFile: join(folder, `${worker}.log`),
      ready: /"msg":"ready"/,
    });
  }

  for (const worker of ['signing', 'anchoring'] as const) {
    it(`is the contract's own for workers/${worker}: another period refuses the start, by name`, async () => {
      await assert.rejects(
        starts(worker),
        /another deployment[^]*period length in seconds: 78 in the database, 77 here/,
      );
    });
  }

  it('names every difference at once, and takes what agrees', async () => {
    const url = database.urls.kiff_anchoring;
    const ours = { chainId: chain.chainId, contract: registry.address, periodSeconds: PERIOD + 1 };
    await requireDeployment(url, ours);
    const other = { chainId: 8453, contract: `0x${'11'.repeat(20)}`, periodSeconds: 3600 } as const;
    await assert.rejects(requireDeployment(url, other), ({ message }: Error) => {
      assert.equal(message.split('\n').length, 4);
      return true;
    });
    await database.sql('DELETE FROM kiff.deployment');
    await assert.rejects(requireDeployment(url, ours), /run the migration job first/);
  });
});
