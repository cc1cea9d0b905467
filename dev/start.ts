/**
 * `npm start`: the main job on embedded parts, shown working.
 *
 *   npm start                 seals every period until Ctrl-C; what was sealed is continued by the next start
 *   npm start -- --once       ends after the first verified receipt, exit code 0
 *   npm start -- --fresh      throws the local state away first
 */
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { sealId } from '../workflows/ids.ts';
import { unlessAborted } from './abort.ts';
import { LOCAL_PARTY } from './clerk.ts';
import { downloadPolicy, downloadReceipt, postRecords, untilFinal, verifyWithCli, type Receipt } from './demo.ts';
import { readStackEnv, type StackEnv } from './env.ts';
import { bringUp } from './parts.ts';
import { environmentOf } from './processes.ts';
import { custodyOrigin } from './processes.ts';
import { startStack, type Stack } from './stack.ts';
import { claimState, clearState, readJson, stateDirectory, writeEnv, writeJson } from './state.ts';
import { createTenant, operatorUrl, periodsBehind, type LocalTenant } from './tenant.ts';

const DEMO = 'demo';
const say = (line = ''): void => void process.stdout.write(`${line}\n`);

const abort = new AbortController();
const stopped = abort.signal;
// A terminal's Ctrl-C arrives twice (from the terminal and from npm): the second one changes nothing.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => abort.abort());
stopped.addEventListener('abort', () => say('\nStopping.'));

async function main(): Promise<void> {
  const { once, fresh } = parseArgs({ options: { once: { type: 'boolean' }, fresh: { type: 'boolean' } } }).values;
  const began = performance.now();
  const env = readStackEnv();
  const state = stateDirectory(env.KIFF_STATE_DIR);
  const giveUp = claimState(state);
  try {
    if (fresh === true) await clearState(state);
    await run(state, env, began, once === true);
  } finally {
    giveUp();
  }
}

async function run(state: string, env: StackEnv, began: number, once: boolean): Promise<void> {
  say(`KIFF Cloud, local stack. State: ${state}`);
  const stack = await startStack(state, env, stopped);
  say(`A period is ${stack.registry.periodSeconds} s here (3600 s in production).`);
  try {
    const partEnded = partEnds(stack, state);
    await Promise.race([partEnded, unlessAborted(stopped, firstReceipt(stack, state, began))]);
    if (!once) await Promise.race([partEnded, untilStopped()]);
  } finally {
    if (!stopped.aborted) say('Stopping.');
    await stack.stop();
  }
}

/** Rejects when a part ends by itself; one that ends because we are stopping is none. */
async function partEnds(stack: Stack, state: string): Promise<never> {
  const name = await stack.lost;
  if (stopped.aborted) return new Promise<never>(() => undefined);
  throw new Error(`${name} ended by itself; see ${join(state, 'logs')}`);
}

async function firstReceipt(stack: Stack, state: string, began: number): Promise<void> {
  const { around, apiUrl } = stack;
  const { tenant, behind } = await demoTenant(stack, state);
  const policy = join(state, 'policy.json');
  await downloadPolicy(apiUrl, tenant, policy);

  const posted = await bringUp(
    'records',
    'posting',
    () => postRecords(apiUrl, tenant),
    (last) => `300 accepted, last leaf ${last.leafIndex}`,
    { stopped },
  );
  const promise = join(state, 'demo', 'promise.json');
  writeJson(promise, posted.promise);
  const { periodSeconds } = stack.registry;
  // One period to wait for its end, one for the seal, a second for each one to catch up: what takes longer is a failure here.
  await untilFinal(apiUrl, tenant, posted, {
    periodSeconds,
    deadlineMs: (2 * periodSeconds + 60 + behind) * 1000,
    stopped,
  });

  const file = join(state, 'demo', 'receipt.json');
  const receipt = await downloadReceipt(apiUrl, tenant, posted.id, file);
  const trust = ['--policy', policy, '--rpc', around.rpcUrl];
  const code = await verify([file, ...trust]);
  if (code !== 0) throw new Error(`verify: the receipt was not accepted (exit code ${code})`);
  // Exit code 1 is a promise that came late, as after an outage: an answer, and no failure of the demo.
  const promiseCode = await verify(['--promise', promise, '--receipt', file, ...trust]);
  if (promiseCode > 1) throw new Error(`verify: the promise could not be verified (exit code ${promiseCode})`);
  summary(stack, tenant, receipt, file, (performance.now() - began) / 1000);
}

/** Shows `kiff verify` and what it says. @returns its exit code */
async function verify(args: string[]): Promise<number> {
  const { code, output } = await verifyWithCli(args, stopped);
  say();
  say(`$ npx kiff verify ${args.join(' ')}`);
  say(output.trimEnd());
  return code;
}

/** The demo tenant: made at the first start, found again later, with so many periods behind. */
async function demoTenant(stack: Stack, state: string): Promise<{ tenant: LocalTenant; behind: number }> {
  const file = join(state, 'dev.json');
  const tenants = (readJson(file) as { tenants?: LocalTenant[] } | undefined)?.tenants ?? [];
  const known = tenants.find(({ id }) => id === DEMO);
  const tenant =
    known ??
    (await bringUp(
      'tenant demo',
      'onboarding',
      () => createTenant(stack.around, DEMO),
      ({ genesisSigner }) => `signer ${genesisSigner}`,
      { stopped },
    ));
  const behind = known === undefined ? 0 : await periodsBehind(stack.around, DEMO);
  if (known !== undefined) {
    say(
      `  ${'tenant demo'.padEnd(16)} continues; ${behind === 0 ? 'no period was missed' : `catching up ${behind} periods`}`,
    );
  }
  const { around, apiUrl, registry } = stack;
  writeEnv(join(state, 'recovery.env'), environmentOf('recovery', around));
  writeJson(file, {
    apiUrl,
    custodyUrl: custodyOrigin(around),
    webhooksUrl: `http://127.0.0.1:${around.webhooksPort}`,
    clerkParty: LOCAL_PARTY,
    temporalAddress: around.temporal.address,
    temporalNamespace: around.temporal.namespace,
    temporalUiUrl: around.temporal.uiUrl,
    rpcUrl: around.rpcUrl,
    chainId: around.chainId,
    contract: registry.address,
    databaseUrl: around.superuserUrl,
    operatorDatabaseUrl: operatorUrl(around),
    kmsUrl: around.kms.url,
    tenants: [tenant, ...tenants.filter(({ id }) => id !== DEMO)],
  });
  return { tenant, behind };
}

function summary(
  { around, apiUrl, registry }: Stack,
  tenant: LocalTenant,
  receipt: Receipt,
  file: string,
  seconds: number,
): void {
  const { seal, anchor, leafIndex } = receipt;
  const ui = around.temporal.uiUrl;
  const workflow = encodeURIComponent(sealId(tenant.id, seal.period));
  say();
  say(`300 records went in over HTTP; record ${leafIndex} came out as a receipt that was verified without us,`);
  say(`${seconds.toFixed(1)} s after the start.`);
  say();
  say(`  API          ${apiUrl}  (key in ${join(around.state, 'dev.json')})`);
  if (ui !== null) say(`  Temporal UI  ${ui}/namespaces/${around.temporal.namespace}/workflows`);
  if (ui !== null) say(`  the seal     ${ui}/namespaces/${around.temporal.namespace}/workflows/${workflow}`);
  say(
    `  its place    seal ${seal.seq} over ${seal.treeSize} records, block ${anchor.blockNumber}, transaction ${anchor.txHash}`,
  );
  say(`  contract     ${registry.address} on chain ${around.chainId}, RPC ${around.rpcUrl}`);
  say(`  policy       ${apiUrl}/.well-known/kiff-policy.json  (with the key: the log's keys too)`);
  say(`  receipt      ${file}`);
  say();
}

async function untilStopped(): Promise<void> {
  say('A seal follows every period until Ctrl-C.');
  await new Promise<void>((resolve) => stopped.addEventListener('abort', () => resolve(), { once: true }));
}

try {
  await main();
} catch (error) {
  if (!stopped.aborted) process.stderr.write(`\nFAILED  ${error instanceof Error ? error.message : String(error)}\n`);
  // Everything is stopped; what was given up on may still be asking for it.
  process.exit(stopped.aborted ? 130 : 1);
}
