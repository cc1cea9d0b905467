/** `kiff monitor`: somebody else's machine watches logs, by the chain and by what their operator publishes. */
import { setTimeout as delay } from 'node:timers/promises';
import { createChainReader, type Policy, type PolicyLog } from '../../protocol/index.ts';
import { UsageError, type Command, type Terminal } from '../command.ts';
import { readMonitorEnv } from '../env.ts';
import { readPolicy } from '../input.ts';
import { createHttpRpc } from '../rpc.ts';
import { readArguments, USAGE, type Arguments } from './arguments.ts';
import { lookAt, unknownLog, type Report, type Sources } from './look.ts';
import { openMemory, type Memory } from './memory.ts';
import { createPublicLog, publicLogUrl } from './public-log.ts';
import { post, show } from './tell.ts';

/** Between two looks, at most: a seal is due an hour after its hour. */
const MOST_SECONDS = 300;

function chosen({ logs }: Policy, wanted: readonly string[]): readonly PolicyLog[] {
  const missing = wanted.find((origin) => !logs.some((log) => log.origin === origin));
  if (missing !== undefined) throw new UsageError(`the policy has no log ${missing}`);
  const watched = wanted.length === 0 ? logs : logs.filter(({ origin }) => wanted.includes(origin));
  if (watched.length === 0) throw new UsageError('the policy names no log');
  return watched;
}

async function lookAtAll(all: readonly Sources[], memory: Memory): Promise<Report[]> {
  const reports: Report[] = [];
  for (const sources of all) {
    const { origin } = sources.log;
    const before = memory.logs.get(origin) ?? unknownLog(sources.policy, sources.log);
    const { memory: after, reports: news } = await lookAt(sources, before, new Date());
    memory.logs.set(origin, after);
    reports.push(...news);
  }
  return reports;
}

/** Something happened, or still stands. */
function exitCode(all: readonly Sources[], memory: Memory, reports: readonly Report[]): number {
  const open = all.flatMap(({ log }) => memory.logs.get(log.origin)?.open ?? []);
  if (reports.some(({ state }) => state === 'happened') || open.some(({ name }) => name !== 'rpc-unreachable'))
    return 1;
  return open.length > 0 ? 3 : 0;
}

async function monitor(args: Arguments, terminal: Terminal, signal: AbortSignal): Promise<number> {
  const policy = await readPolicy(args.policy, terminal.stdin);
  const { key } = readMonitorEnv();
  const chain = createChainReader(createHttpRpc(args.rpc));
  const all = chosen(policy, args.logs).map((log) => ({
    chain,
    policy,
    log,
    published: args.publicLog === null ? null : createPublicLog(publicLogUrl(log.origin, args.publicLog, key), key),
  }));
  const memory = openMemory(args.state, policy);
  const every = args.everySeconds ?? Math.min(MOST_SECONDS, Math.ceil(policy.registry.periodSeconds / 4));
  const asLines = args.json || terminal.stdout.isTTY !== true;
  const happened: Report[] = [];
  for (;;) {
    const reports = await lookAtAll(all, memory);
    show(reports, terminal, asLines);
    if (args.webhook !== undefined) {
      const lost = await post(reports, args.webhook, signal);
      if (lost > 0) terminal.stderr.write(`kiff monitor: ${lost} reports were not taken by the webhook\n`);
    }
    // After it was told: a report may come twice, and never not at all.
    memory.save();
    happened.push(...reports.filter(({ state }) => state === 'happened'));
    if (args.once || signal.aborted) return exitCode(all, memory, happened);
    await delay(every * 1000, undefined, { signal }).catch(() => undefined);
    if (signal.aborted) return exitCode(all, memory, happened);
  }
}

async function run(args: readonly string[], terminal: Terminal): Promise<number> {
  const stopping = new AbortController();
  const stop = (): void => stopping.abort();
  process.once('SIGINT', stop).once('SIGTERM', stop);
  try {
    return await monitor(readArguments(args), terminal, stopping.signal);
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    terminal.stderr.write(`kiff monitor: ${error.message}\nSee: kiff monitor --help\n`);
    return 2;
  } finally {
    process.off('SIGINT', stop).off('SIGTERM', stop);
  }
}

export const monitorCommand: Command = { usage: USAGE, run };
