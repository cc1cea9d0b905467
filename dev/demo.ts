/** The main job, shown working: post records, wait for the seal, download a receipt, verify it with the CLI. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { demoRecords } from './demo-records.ts';
import { part } from './progress.ts';
import { packageRoot } from './root.ts';
import type { LocalTenant } from './tenant.ts';

const SINGLE = 20;
const BATCHED = 280;

export interface Posted {
  id: string;
  leafIndex: number;
  receivedAt: string;
  sealBy: number;
  promise: object;
}

interface Answer extends Posted {
  status: string;
}

/** Posts a few hundred records, some one by one, the rest as NDJSON. @returns the last one of them */
export async function postRecords(apiUrl: string, tenant: LocalTenant): Promise<Posted> {
  const records = demoRecords(SINGLE + BATCHED, new Date());
  for (const record of records.slice(0, SINGLE)) {
    const response = await post(apiUrl, tenant, 'application/json', JSON.stringify(record));
    if (response.status !== 201)
      throw new Error(`POST /v1/records answered ${response.status}: ${await response.text()}`);
    await response.body?.cancel();
  }
  const body = records.slice(SINGLE).map((record) => `${JSON.stringify(record)}\n`);
  const response = await post(apiUrl, tenant, 'application/x-ndjson', body.join(''));
  const text = await response.text();
  if (response.status !== 200) throw new Error(`POST /v1/records answered ${response.status}: ${text}`);
  const answers = text
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as Answer);
  const refused = answers.find((answer) => answer.status !== 'accepted');
  if (refused !== undefined) throw new Error(`a demo record was not accepted: ${JSON.stringify(refused)}`);
  const last = answers.at(-1);
  if (last === undefined || answers.length !== BATCHED)
    throw new Error(`${answers.length} answers to ${BATCHED} records`);
  return last;
}

export interface Waiting {
  periodSeconds: number;
  deadlineMs: number;
  stopped: AbortSignal;
  /** Takes the progress lines; standard output unless given. */
  write?: (line: string) => void;
}

/** Waits until the record is final, with a progress line. @throws when it is not by the deadline, or the API refuses */
export async function untilFinal(
  apiUrl: string,
  tenant: LocalTenant,
  posted: Pick<Posted, 'id' | 'receivedAt'>,
  { periodSeconds, deadlineMs, stopped, write }: Waiting,
): Promise<void> {
  const line = part('seal', write);
  const periodEnd = (Math.floor(Date.parse(posted.receivedAt) / 1000 / periodSeconds) + 1) * periodSeconds;
  const waiting = (level: string): string =>
    level === 'accepted' && Date.now() / 1000 < periodEnd
      ? `waiting for the period's end at ${new Date(periodEnd * 1000).toISOString().slice(11, 19)} UTC`
      : `at level '${level}', on the way to 'final'`;
  let level = 'accepted';
  line.start(waiting(level));
  const deadline = performance.now() + deadlineMs;
  while (level !== 'final') {
    if (performance.now() > deadline) {
      line.fail(`still '${level}'`);
      throw new Error(`seal: the record is still '${level}' after ${Math.round(deadlineMs / 1000)} s`);
    }
    await delay(250, undefined, { signal: stopped });
    const response = await get(apiUrl, tenant, `/v1/records/${encodeURIComponent(posted.id)}`);
    if (response.status !== 200) {
      line.fail(`the API answered ${response.status}`);
      throw new Error(`seal: the API answered ${response.status}: ${await response.text()}`);
    }
    ({ level } = (await response.json()) as { level: string });
    line.update(waiting(level));
  }
  line.done('collected, hashed, signed, anchored, final');
}

/** Downloads what the API tells a verifier to trust: the registry, and the log of the key that asks. */
export async function downloadPolicy(apiUrl: string, tenant: LocalTenant, file: string): Promise<void> {
  const response = await get(apiUrl, tenant, '/.well-known/kiff-policy.json');
  const text = await response.text();
  if (response.status !== 200) throw new Error(`policy: the API answered ${response.status}: ${text}`);
  writeFileSync(file, text, { mode: 0o600 });
}

/** Downloads the record's receipt. */
export async function downloadReceipt(apiUrl: string, tenant: LocalTenant, id: string, file: string): Promise<Receipt> {
  const response = await get(apiUrl, tenant, `/v1/records/${encodeURIComponent(id)}/receipt`);
  const text = await response.text();
  if (response.status !== 200) throw new Error(`receipt: the API answered ${response.status}: ${text}`);
  writeFileSync(file, text, { mode: 0o600 });
  return JSON.parse(text) as Receipt;
}

export interface Receipt {
  leafIndex: number;
  seal: { seq: number; period: number; treeSize: number };
  anchor: { txHash: string; blockNumber: number };
}

/** Runs `kiff verify` as the separate program that it is. @returns its exit code and what it printed */
export async function verifyWithCli(args: string[], signal?: AbortSignal): Promise<{ code: number; output: string }> {
  const cli = spawn(process.execPath, [join(packageRoot, 'dist/cli/kiff.js'), 'verify', ...args], {
    env: {},
    stdio: ['ignore', 'pipe', 'pipe'],
    signal,
  });
  let output = '';
  cli.stdout.setEncoding('utf8').on('data', (text: string) => (output += text));
  cli.stderr.setEncoding('utf8').on('data', (text: string) => (output += text));
  const [code] = (await once(cli, 'close')) as [number | null];
  return { code: code ?? -1, output };
}

function post(apiUrl: string, tenant: LocalTenant, type: string, body: string): Promise<Response> {
  const headers = { authorization: `Bearer ${tenant.apiKey}`, 'content-type': type };
  return fetch(`${apiUrl}/v1/records`, { method: 'POST', headers, body });
}

function get(apiUrl: string, tenant: LocalTenant, path: string): Promise<Response> {
  return fetch(`${apiUrl}${path}`, { headers: { authorization: `Bearer ${tenant.apiKey}` } });
}
