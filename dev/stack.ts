/** The whole local stack: parts in parallel, then the contract and the databases, then our own processes. */
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { createTestClient, http, parseEther } from 'viem';
import { keyAddress, RELAYER_ALIAS } from '../activities/kms/keys.ts';
import type { DeployedRegistry } from '../contracts/deploy.ts';
import { connectChain } from '../workers/chain.ts';
import { unlessAborted } from './abort.ts';
import { contractOn } from './contract.ts';
import { prepareLocalDatabases } from './databases.ts';
import type { StackEnv } from './env.ts';
import { withAdminKms } from './kms-client.ts';
import { basePart, bringUp, kmsPart, postgresPart, temporalPart, type KmsAccess, type Running } from './parts.ts';
import { freePort } from './ports.ts';
import { isApi, PROCESSES, startOwn, type ProcessName, type Surroundings } from './processes.ts';
import type { RunningProcess } from './process.ts';
import { loadSecrets } from './secrets.ts';
import { openState } from './state.ts';

const DEVNET_CHAIN = 31337;

/** Processes of ours can end of a part's end, and sooner than that is seen: this long, the part is named instead. */
const PART_SEEN_MS = 2_000;

export interface Stack {
  around: Surroundings;
  apiUrl: string;
  registry: DeployedRegistry;
  processes: Map<ProcessName, RunningProcess>;
  /** Settles with the name of the first part that ends by itself, or of the first process of ours if no part did. */
  lost: Promise<string>;
  /** Ends everything that was started here, our own processes first. Repeatable. */
  stop(): Promise<void>;
}

/**
 * @param stopped gives the start up, wherever it is: what has started is stopped, and the signal's reason thrown
 * @param write takes the progress lines; standard output unless given
 */
export async function startStack(
  state: string,
  env: StackEnv,
  stopped: AbortSignal,
  write?: (line: string) => void,
): Promise<Stack> {
  stopped.throwIfAborted();
  openState(state);
  const secrets = loadSecrets(join(state, 'secrets.json'));
  const stops: (() => Promise<unknown>)[] = [];
  const lost: Promise<string>[] = [];
  const processes = new Map<ProcessName, RunningProcess>();
  const telling = { stopped, write };
  let stopping: Promise<void> | undefined;
  const stop = () => (stopping ??= stopAll(processes, stops));

  const keep = async <T>(name: string, running: Promise<Running<T>>): Promise<T> => {
    const { value, stop: stopPart, exited } = await running;
    stops.push(stopPart);
    if (exited !== undefined) lost.push(exited.then(() => name));
    return value;
  };

  try {
    // All of them settle, also when one fails or the start is given up: none may come up when nobody stops it any more.
    const settled = await Promise.allSettled([
      bringUp(
        'PostgreSQL',
        'starting',
        () => keep('PostgreSQL', postgresPart(state, env, stopped)),
        (url) => new URL(url).host,
        telling,
      ),
      bringUp(
        'Temporal',
        'starting',
        (progress) => keep('Temporal', temporalPart(state, env, stopped, progress)),
        ({ address, uiUrl }) => `${address}${uiUrl === null ? '' : `, Web UI ${uiUrl}`}`,
        telling,
      ),
      bringUp(
        'KMS stand-in',
        'starting',
        () => keep('KMS', kmsPart(state, env, secrets, stopped)),
        (kms) => kms.url,
        telling,
      ),
      bringUp(
        'Base devnet',
        'starting',
        () => keep('Base', base(state, env, stopped)),
        ({ rpcUrl, registry }) => `${rpcUrl}, contract ${registry.address}`,
        telling,
      ),
    ]);
    const [superuserUrl, temporal, kms, { rpcUrl, registry }] = values(settled);
    stopped.throwIfAborted();

    const chainId = env.CHAIN_ID;
    const contract = registry.address;
    const { fromBlock, periodSeconds } = registry;
    const deployment = { host: env.KIFF_HOST, chainId, contract, periodSeconds, incarnation: env.KIFF_INCARNATION };
    await bringUp(
      'migrations',
      'running',
      () => {
        const ran = prepareLocalDatabases(superuserUrl, secrets, deployment);
        // On a server of our own they take a second, and are not cut off by its stop.
        return env.DATABASE_URL === undefined ? ran : unlessAborted(stopped, ran);
      },
      (ran) => (ran === 0 ? 'nothing to do' : `${ran} ran`),
      telling,
    );
    stopped.throwIfAborted();

    const ports = {
      apiPort: await freePort(),
      custodyPort: await freePort(),
      webhooksPort: await freePort(),
      vetoPort: await freePort(),
    };
    const onChain = { rpcUrl, chainId, contract, fromBlock, periodSeconds };
    const around = { state, env, secrets, superuserUrl, temporal, kms, ...onChain, ...ports };
    const start = (name: ProcessName) =>
      bringUp(
        name === 'api' ? 'api/ingest' : `${isApi(name) ? 'api' : 'workers'}/${name}`,
        'starting',
        async () => {
          const running = await startOwn(name, around, stopped);
          processes.set(name, running);
          lost.push(
            running.exited.then(() =>
              processes.get(name) === running ? delay(PART_SEEN_MS, name) : new Promise<string>(() => undefined),
            ),
          );
          return running;
        },
        ({ pid }) => `process ${pid}`,
        telling,
      );
    // The key administrator makes the relayer's key, which the anchoring worker looks for when it starts.
    await start('keyadmin');
    await unlessAborted(stopped, fundRelayer(rpcUrl, chainId, kms));
    values(await Promise.allSettled(PROCESSES.filter((name) => name !== 'keyadmin').map(start)));
    stopped.throwIfAborted();

    return { around, apiUrl: `http://127.0.0.1:${ports.apiPort}`, registry, processes, lost: Promise.race(lost), stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

/** Our own processes first, so that none of them sees its parts go; the parts then, all at once. */
async function stopAll(processes: Map<ProcessName, RunningProcess>, parts: (() => Promise<unknown>)[]): Promise<void> {
  const own = [...processes.values()];
  processes.clear();
  await Promise.allSettled(own.map((running) => running.stop(15_000)));
  values(await Promise.allSettled(parts.map((stopPart) => stopPart())));
}

/** The chain, with the contract on it. */
async function base(
  state: string,
  env: StackEnv,
  stopped: AbortSignal,
): Promise<Running<{ rpcUrl: string; registry: DeployedRegistry }>> {
  const running = await basePart(state, env, stopped);
  try {
    const registry = await unlessAborted(stopped, contractOn(state, running.value, env));
    return { ...running, value: { rpcUrl: running.value, registry } };
  } catch (error) {
    await running.stop();
    throw error;
  }
}

/** On a devnet the relayer is given money; on a real chain it must have some. */
async function fundRelayer(rpcUrl: string, chainId: number, kms: KmsAccess): Promise<void> {
  const address = await withAdminKms(kms, (client) => keyAddress(client, RELAYER_ALIAS));
  if (chainId === DEVNET_CHAIN) {
    const devnet = createTestClient({ mode: 'anvil', transport: http(rpcUrl) });
    await devnet.setBalance({ address, value: parseEther('100') });
    return;
  }
  const chain = await connectChain(rpcUrl, chainId);
  if ((await chain.getBalance({ address })) === 0n)
    throw new Error(`the relayer ${address} has no funds: send it some`);
}

/** All values, or the first failure. */
function values<T extends readonly unknown[]>(settled: { [K in keyof T]: PromiseSettledResult<T[K]> }): T {
  const failed = settled.find((result) => result.status === 'rejected');
  if (failed !== undefined) throw failed.reason;
  return settled.map((result) => (result as PromiseFulfilledResult<unknown>).value) as unknown as T;
}
