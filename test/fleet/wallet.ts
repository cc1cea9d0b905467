/**
 * The anchoring plane with its real processes: workers of anchoring that can be killed, a Temporal server and a KMS stand-in of
 * their own. The wallet's workflow code runs in this process; nothing else of the sealing plane does.
 */
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { KMSClient } from '@aws-sdk/client-kms';
import { Client, Connection } from '@temporalio/client';
import { NativeConnection, Worker } from '@temporalio/worker';
import { createTestClient, http, parseEther, type Hex } from 'viem';
import { ensureDeploymentKeys } from '../../activities/keyadmin/create.ts';
import { keyAddress, RELAYER_ALIAS } from '../../activities/kms/keys.ts';
import { ACCESS_KEYS, LOCAL_ROLES, localPrincipals } from '../../dev/kms-roles.ts';
import { startKms } from '../../dev/kms/server.ts';
import { startProcess, type RunningProcess } from '../../dev/process.ts';
import { packageRoot } from '../../dev/root.ts';
import { startTemporal } from '../../dev/temporal.ts';
import { temporalBinary } from '../../dev/temporal-binary.ts';
import { bundlePath } from '../../workers/bundle.ts';
import { SEARCH_ATTRIBUTES } from '../../workflows/attributes.ts';
import { SEALING_QUEUE, walletId } from '../../workflows/ids.ts';
import type { ProductDatabase } from '../product-database.ts';
import '../quiet-temporal.ts';

const KMS_SECRET = 'a secret for the tests';
/** Between two starts of a worker that does not come up, as when its RPC endpoints are away. */
const RESTART_MS = 500;

export interface WalletPlaneOptions {
  folder: string;
  database: ProductDatabase;
  /** What the workers see of the chain. */
  rpcUrls: readonly string[];
  /** Where the relayer gets its money from. */
  devnetUrl: string;
  fromBlock: number;
  workers: number;
  /** Of the workers, beside what they need. */
  settings?: Readonly<Record<string, string>>;
}

export interface WalletPlane {
  relayer: Hex;
  /** Starts the workers and with them the wallet's workflow. */
  start(): Promise<void>;
  /** Stops the workers, each after what it is at; `start` goes on. */
  rest(): Promise<void>;
  /** Tells the wallet that there is something to do. */
  nudge(): Promise<void>;
  /** Ends a worker as a power cut would. @returns false when it does not run */
  kill(worker: number): Promise<boolean>;
  /** Starts a killed worker again, as a supervisor does: until it runs, or the plane stops. @returns how many starts failed */
  revive(worker: number): Promise<number>;
  stop(): Promise<void>;
}

export async function startWalletPlane(options: WalletPlaneOptions): Promise<WalletPlane> {
  const { folder, database, rpcUrls, devnetUrl, fromBlock, settings = {} } = options;
  const { chainId, contract } = database;
  const closers: (() => Promise<unknown>)[] = [];

  const secrets = {
    signer: KMS_SECRET,
    relayer: KMS_SECRET,
    admin: KMS_SECRET,
    breakGlass: KMS_SECRET,
    tenant: KMS_SECRET,
  };
  const kms = await startKms({ principals: localPrincipals(secrets) });
  closers.push(() => kms.stop());
  process.env['AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED'] = 'true'; // else the SDK tells of it on standard error
  const admin = new KMSClient({
    endpoint: kms.url,
    region: 'eu-central-1',
    credentials: { accessKeyId: ACCESS_KEYS.admin, secretAccessKey: KMS_SECRET },
  });
  await ensureDeploymentKeys({ kms: admin, roles: LOCAL_ROLES });
  const relayer = await keyAddress(admin, RELAYER_ALIAS);
  admin.destroy();
  const devnet = createTestClient({ mode: 'anvil', transport: http(devnetUrl) });
  await devnet.setBalance({ address: relayer, value: parseEther('1000') });

  const binary = await temporalBinary({ onProgress: () => undefined }); // set-up has made it
  const temporal = await startTemporal({
    binary,
    searchAttributes: SEARCH_ATTRIBUTES,
    logFile: join(folder, 'temporal.log'),
  });
  closers.unshift(() => temporal.stop());
  const connection = await NativeConnection.connect({ address: temporal.address });
  closers.unshift(() => connection.close());
  const workflows = await Worker.create({
    connection,
    taskQueue: SEALING_QUEUE,
    workflowBundle: { codePath: bundlePath },
    shutdownGraceTime: 0,
  });
  const running = workflows.run();
  closers.unshift(async () => {
    workflows.shutdown();
    await running;
  });
  const clientConnection = await Connection.connect({ address: temporal.address });
  closers.unshift(() => clientConnection.close());
  const client = new Client({ connection: clientConnection });

  let stopped = false;
  const processes = new Map<number, RunningProcess>();
  const startWorker = async (worker: number): Promise<void> => {
    const started = await startProcess({
      name: `anchoring ${worker}`,
      entry: join(packageRoot, 'dist/workers/anchoring/main.js'),
      env: {
        DATABASE_URL: database.urls.kiff_anchoring,
        KIFF_INCARNATION: database.incarnation,
        BASE_RPC_URLS: rpcUrls.join(),
        CHAIN_ID: String(chainId),
        CONTRACT: contract,
        FROM_BLOCK: String(fromBlock),
        POLL_SECONDS: '1',
        IDLE_SECONDS: '2',
        TEMPORAL_ADDRESS: temporal.address,
        TEMPORAL_NAMESPACE: temporal.namespace,
        AWS_ENDPOINT_URL_KMS: kms.url,
        AWS_REGION: 'eu-central-1',
        AWS_ACCESS_KEY_ID: ACCESS_KEYS.relayer,
        AWS_SECRET_ACCESS_KEY: KMS_SECRET,
        AWS_CONFIG_FILE: '/dev/null',
        AWS_SHARED_CREDENTIALS_FILE: '/dev/null',
        AWS_EC2_METADATA_DISABLED: 'true',
        AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED: 'true',
        ...settings,
      },
      logFile: join(folder, `anchoring-${worker}.log`),
      ready: /"msg":"ready"/,
    });
    processes.set(worker, started);
  };

  return {
    relayer,
    async start() {
      await Promise.all(Array.from({ length: options.workers }, (_, worker) => startWorker(worker)));
    },
    async rest() {
      await Promise.all([...processes.values()].map((worker) => worker.stop()));
      processes.clear();
    },
    async nudge() {
      await client.workflow.getHandle(walletId(chainId, relayer)).signal('nudge');
    },
    async kill(worker) {
      const victim = processes.get(worker);
      if (victim === undefined) return false;
      processes.delete(worker);
      process.kill(victim.pid, 'SIGKILL');
      await victim.exited;
      return true;
    },
    async revive(worker) {
      for (let failed = 0; ; failed++) {
        try {
          await startWorker(worker);
          return failed;
        } catch {
          if (stopped) return failed;
          await delay(RESTART_MS); // its log says why
        }
      }
    },
    async stop() {
      stopped = true;
      await Promise.all([...processes.values()].map((worker) => worker.stop(0)));
      for (const close of closers) await close();
    },
  };
}
