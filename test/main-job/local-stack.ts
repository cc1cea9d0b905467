/** The whole local stack, as `npm start` brings it up, for tests that break it. One per test run, on parts of its own. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text as textOf } from 'node:stream/consumers';
import { DescribeKeyCommand } from '@aws-sdk/client-kms';
import { Client, Connection } from '@temporalio/client';
import pg from 'pg';
import type { PublicClient } from 'viem';
import { tenantKeyAlias } from '../../activities/kms/keys.ts';
import { registryAbi } from '../../contracts/registry.ts';
import { startAnvil } from '../../dev/anvil.ts';
import { prepareLocalDatabases } from '../../dev/databases.ts';
import { readStackEnv } from '../../dev/env.ts';
import { connectControl, type KmsControl } from '../../dev/kms/control.ts';
import { withAdminKms } from '../../dev/kms-client.ts';
import { removePostgres } from '../../dev/postgres.ts';
import { startOwn, type ProcessName } from '../../dev/processes.ts';
import type { Exit, RunningProcess } from '../../dev/process.ts';
import { packageRoot } from '../../dev/root.ts';
import { startStack, type Stack } from '../../dev/stack.ts';
import { createTenant, type LocalTenant } from '../../dev/tenant.ts';
import type { Hex } from '../../protocol/hex.ts';
import { logId } from '../../protocol/logid.ts';
import { PRODUCT } from '../../sql/prepare.ts';
import { connectChain } from '../../workers/chain.ts';
import { lazily } from '../parts.ts';
import { temporalServer } from './temporal-server.ts';

/** Seconds: long enough to post into, short enough to wait for. */
export const PERIOD_SECONDS = 4;

/** What a program of a person's came to. */
export interface Answer {
  code: number | null;
  stdout: string;
  stderr: string;
}

export interface LocalStack {
  stack: Stack;
  kms: KmsControl;
  chain: PublicClient;
  temporal: Client;
  /** A new tenant, active. The earlier ones are paused, so that they do not go on sealing for nothing. */
  tenant(): Promise<LocalTenant>;
  /** Several at once. */
  tenants(count: number): Promise<LocalTenant[]>;
  /** The KMS key of a tenant, by its id: administrative calls and faults take no alias. */
  keyId(tenant: LocalTenant): Promise<string>;
  /** Runs a statement as superuser in the product database. */
  sql<Row extends pg.QueryResultRow>(text: string, values?: unknown[]): Promise<Row[]>;
  /** Starts one more process of a kind (with a log of its own) beside those that run. */
  another(name: ProcessName): Promise<RunningProcess>;
  /** Ends a process as a power cut would. */
  kill(name: ProcessName): Promise<void>;
  /** Tells a process to stop, as a deployment does. @returns how it ended, and after how many milliseconds */
  terminate(name: ProcessName): Promise<Exit & { after: number }>;
  /** Starts a process again that was ended. @param besides what goes into its environment to spoil it */
  revive(name: ProcessName, besides?: Readonly<Record<string, string>>): Promise<void>;
  /** Stops every process, and configures them under another name (KIFF_INCARNATION) for when they are started again. */
  reconfigure(incarnation: string): Promise<void>;
  /** Runs the migration job. */
  migrate(): Promise<void>;
  /** Runs the `kiff` command as the program that it is. @param env all of its environment */
  kiff(args: readonly string[], env?: Readonly<Record<string, string>>): Promise<Answer>;
  /** Ends the Temporal server as a power cut would. */
  killTemporal(): Promise<void>;
  /** Starts it again where it was, on what it had written. */
  reviveTemporal(): Promise<void>;
  /** Every `Sealed` event of a tenant's log, in the order of the chain. */
  sealedEvents(tenant: LocalTenant): Promise<{ seq: number; period: number; treeSize: number; sealHash: Hex }[]>;
}

export const localStack = lazily('local stack', async (): Promise<LocalStack & { stop(): Promise<void> }> => {
  const state = await mkdtemp(join(tmpdir(), 'kiff-cloud-stack-'));
  chmodSync(state, 0o755);
  const anvil = await startAnvil({ blockTime: 1, logFile: join(state, 'anvil.log') });
  const server = await temporalServer(join(state, 'temporal.db'));
  const env = readStackEnv({
    KIFF_PERIOD_SECONDS: String(PERIOD_SECONDS),
    KIFF_COOLING_OFF_SECONDS: String(PERIOD_SECONDS),
    KIFF_HOST: 'kiff.test',
    BASE_RPC_URL: anvil.rpcUrl,
    TEMPORAL_ADDRESS: server.address,
  });
  // A start that fails must leave nothing behind: what runs on would keep the tests from ending.
  const stack = await startStack(state, env, new AbortController().signal, () => undefined).catch(
    async (error: unknown) => {
      await Promise.allSettled([server.stop(), anvil.stop()]);
      throw error;
    },
  );
  const { around, processes } = stack;
  const chain = await connectChain(around.rpcUrl, around.chainId);
  const connection = await Connection.connect({ address: around.temporal.address });
  const url = new URL(around.superuserUrl);
  url.pathname = `/${PRODUCT}`;
  const superuser = new pg.Pool({ connectionString: url.href, max: 2 });
  superuser.on('error', () => undefined); // an idle connection breaks when a test puts another database in its place
  const extra: RunningProcess[] = [];
  let count = 0;
  const tenants = async (wanted: number): Promise<LocalTenant[]> => {
    await superuser.query(`UPDATE kiff.tenants SET status = 'paused' WHERE status = 'active'`);
    const ids = Array.from({ length: wanted }, () => `t${Date.now().toString(36)}${(count++).toString(36)}`);
    const made = await Promise.all(ids.map((id) => createTenant(around, id)));
    // Tests post as fast as they can; what limits do is tested with the API alone.
    await superuser.query(
      `UPDATE kiff.tenants SET requests_per_second = NULL, records_per_second = NULL WHERE id = ANY ($1)`,
      [ids],
    );
    await superuser.query(
      `UPDATE kiff.api_keys SET requests_per_second = NULL, records_per_second = NULL WHERE tenant = ANY ($1)`,
      [ids],
    );
    return made;
  };

  /** A running process that the stack no longer looks after. */
  const taken = (name: ProcessName): RunningProcess => {
    const running = processes.get(name);
    if (running === undefined) throw new Error(`${name} does not run`);
    processes.delete(name);
    return running;
  };

  return {
    stack,
    chain,
    kms: connectControl({ url: around.kms.url, token: around.secrets.kmsControl }),
    temporal: new Client({ connection, namespace: around.temporal.namespace }),
    async tenant() {
      const [only] = await tenants(1);
      if (only === undefined) throw new Error('no tenant was made');
      return only;
    },
    tenants,
    keyId: (tenant) =>
      withAdminKms(around.kms, async (client) => {
        const { KeyMetadata } = await client.send(new DescribeKeyCommand({ KeyId: tenantKeyAlias(tenant.id) }));
        if (KeyMetadata?.KeyId === undefined) throw new Error('the tenant has no key');
        return KeyMetadata.KeyId;
      }),
    async sql<Row extends pg.QueryResultRow>(text: string, values: unknown[] = []) {
      return (await superuser.query<Row>(text, values)).rows;
    },
    async another(name) {
      const running = await startOwn(name, { ...around, state: join(state, `another-${name}-${count++}`) });
      extra.push(running);
      return running;
    },
    async kill(name) {
      const running = taken(name);
      process.kill(running.pid, 'SIGKILL');
      await running.exited;
    },
    async terminate(name) {
      const running = taken(name);
      const begun = performance.now();
      process.kill(running.pid, 'SIGTERM');
      const exit = await running.exited;
      return { ...exit, after: performance.now() - begun };
    },
    async revive(name, besides) {
      processes.set(name, await startOwn(name, around, undefined, besides));
    },
    async reconfigure(incarnation) {
      await Promise.all([...processes.keys()].map((name) => taken(name).stop(15_000)));
      around.env = { ...around.env, KIFF_INCARNATION: incarnation };
    },
    async migrate() {
      const { chainId, contract, periodSeconds } = around;
      const { KIFF_HOST: host, KIFF_INCARNATION: incarnation } = around.env;
      const deployment = { host, chainId, contract, periodSeconds, incarnation };
      await prepareLocalDatabases(around.superuserUrl, around.secrets, deployment);
    },
    async kiff(args, programEnv = {}) {
      const child = spawn(process.execPath, [join(packageRoot, 'dist/cli/kiff.js'), ...args], { env: programEnv });
      const [stdout, stderr, [code]] = await Promise.all([
        textOf(child.stdout),
        textOf(child.stderr),
        once(child, 'close') as Promise<[number | null]>,
      ]);
      return { code, stdout, stderr };
    },
    killTemporal: () => server.kill(),
    reviveTemporal: () => server.revive(),
    async sealedEvents(tenant) {
      const logs = await chain.getContractEvents({
        address: stack.registry.address,
        abi: registryAbi,
        eventName: 'Sealed',
        args: { logId: logId(tenant.genesisSigner, tenant.origin) },
        fromBlock: 0n,
        strict: true,
      });
      return logs.map(({ args: { seq, period, treeSize, sealHash } }) => ({
        seq,
        period: Number(period),
        treeSize,
        sealHash,
      }));
    },
    async stop() {
      await connection.close();
      await superuser.end();
      await Promise.all(extra.map((running) => running.stop()));
      await stack.stop();
      await server.stop();
      await anvil.stop();
      await removePostgres(join(state, 'postgres'));
      await rm(state, { recursive: true });
    },
  };
});
