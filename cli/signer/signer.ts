/** `kiff signer`: a tenant signs for its own log, on its own ground (design section 7, custody `tenant-agent`). */
import { printable, UsageError, type Command, type Terminal } from '../command.ts';
import { readSignerEnv } from '../env.ts';
import { readText } from '../input.ts';
import { openKeystore } from '../keystore.ts';
import { createPublicLog, publicLogUrl } from '../monitor/public-log.ts';
import { work, type News } from './agent.ts';
import { readArguments, USAGE, type KeyArguments, type RunArguments, type SignerArguments } from './arguments.ts';
import { createAsking } from './ask.ts';
import { createOwnChain } from './chain.ts';
import { CloudUnreachable, createCloud } from './cloud.ts';
import { declare } from './declare.ts';
import { createHealth } from './health.ts';
import { JournalBroken, openJournal, peekJournal, type Journal } from './journal.ts';
import { heldKey, KeyUnavailable, kmsKey, walletKey, type SigningKey } from './keys.ts';
import { askOwner, lockJournal } from './lock.ts';
import { readSignerPolicy, type SignerPolicy } from './policy.ts';
import { createRecompute } from './recompute.ts';
import { ownRecords } from './records.ts';
import { nothingSaid } from './standing.ts';

async function keyOf(
  { keystore, kmsKey: arn, wallet }: KeyArguments,
  password: string | undefined,
  { signer }: SignerPolicy,
  { stdin }: Terminal,
): Promise<SigningKey> {
  if (wallet !== undefined) return walletKey(wallet, signer);
  if (arn !== undefined) return kmsKey(arn, signer);
  if (keystore === undefined || keystore === '-') throw new UsageError('the keystore is a file');
  if (password === undefined) throw new UsageError('set KIFF_KEYSTORE_PASSWORD: the keystore’s password');
  return heldKey(openKeystore(await readText('keystore', keystore, stdin), password), signer);
}

/** What comes again with the same request, as long as nothing has changed. */
const STANDING: readonly News['event'][] = ['held', 'not-taken', 'refused', 'answer-refused'];
const MOST_STANDING = 10_000;

/** One line for each news; what stays as it is, is told once. */
function teller({ stdout }: Terminal, json: boolean): (news: News) => void {
  const standing = new Map<string, string>();
  return (news) => {
    const { event, request = '', kind = '', word = '', says } = news;
    if (STANDING.includes(event)) {
      // One round may tell two of them about one request: each stands for itself.
      const told = `${word} ${says}`;
      const place = `${event} ${request}`;
      if (standing.get(place) === told) return;
      if (standing.size >= MOST_STANDING) standing.clear();
      standing.set(place, told);
    } else for (const each of STANDING) standing.delete(`${each} ${request}`);
    const time = new Date().toISOString();
    if (json) stdout.write(`${JSON.stringify({ time, ...news })}\n`);
    else stdout.write(`${[time, event, kind, word].filter(Boolean).join('  ')}  ${printable(says)}\n`);
  };
}

async function start(args: RunArguments, policy: SignerPolicy, terminal: Terminal, signal: AbortSignal): Promise<void> {
  const { apiKey, keystorePassword } = readSignerEnv();
  const base = publicLogUrl(policy.origin, args.api, apiKey);
  const api = args.api ?? new URL(new URL(base).origin);
  const key = await keyOf(args.key, keystorePassword, policy, terminal);
  let journal: Journal | null = null;
  const health = createHealth(
    policy.origin,
    () => journal?.said ?? nothingSaid(),
    () => new Date(),
  );
  const lock = await lockJournal(args.journal, () => health.line());
  const showHealth = (): void => void terminal.stderr.write(`${health.line()}\n`);
  // Also keeps Node from opening its inspector at this signal.
  process.on('SIGUSR1', showHealth);
  try {
    journal = openJournal(args.journal, policy);
    const published = createPublicLog(base, apiKey);
    const { periodSeconds } = policy.registry;
    const deps = {
      policy,
      published,
      chain: args.rpc === undefined ? null : createOwnChain(args.rpc, policy),
      recompute:
        args.recompute === undefined
          ? null
          : createRecompute(published, ownRecords(args.recompute, policy.origin), periodSeconds),
      now: () => Math.floor(Date.now() / 1000),
    };
    const ask = args.ask ? createAsking(terminal) : null;
    const tell = teller(terminal, args.json);
    const agent = { deps, journal, key, cloud: createCloud(api, apiKey), health, answered: new Map(), tell, ask };
    await work(agent, signal, args.once);
  } finally {
    process.off('SIGUSR1', showHealth);
    journal?.close();
    lock.release();
  }
}

async function status(
  { journal }: Extract<SignerArguments, { action: 'status' }>,
  policy: SignerPolicy,
  { stdout }: Terminal,
): Promise<number> {
  const said = await askOwner(journal);
  if (said !== null) {
    stdout.write(`${printable(said)}\n`);
    return 0;
  }
  const standing = peekJournal(journal, policy)?.standing ?? null;
  const line = {
    log: policy.origin,
    ok: false,
    running: false,
    epoch: standing?.epoch ?? null,
    seq: standing?.seq ?? null,
  };
  stdout.write(`${JSON.stringify({ ...line, head: standing?.head ?? null })}\n`);
  return 3;
}

async function act(args: SignerArguments, terminal: Terminal, signal: AbortSignal): Promise<number> {
  const policy = await readSignerPolicy(args.policy, terminal.stdin);
  switch (args.action) {
    case 'run':
      await start(args, policy, terminal, signal);
      return 0;
    case 'status':
      return status(args, policy, terminal);
    case 'declare':
      return declare(args, policy, terminal);
  }
}

async function run(all: readonly string[], terminal: Terminal): Promise<number> {
  const stopping = new AbortController();
  // More than once: a terminal's Ctrl-C reaches this process twice when npm runs it.
  const stop = (): void => stopping.abort();
  process.on('SIGINT', stop).on('SIGTERM', stop);
  try {
    return await act(readArguments(all), terminal, stopping.signal);
  } catch (error) {
    const code =
      error instanceof UsageError
        ? 2
        : error instanceof JournalBroken
          ? 1
          : error instanceof CloudUnreachable
            ? 3
            : null;
    // At the start: the key cannot even be looked at.
    const exit = error instanceof KeyUnavailable ? 3 : code;
    if (exit === null || !(error instanceof Error)) throw error;
    terminal.stderr.write(`kiff signer: ${printable(error.message)}\n${exit === 2 ? 'See: kiff signer --help\n' : ''}`);
    return exit;
  } finally {
    process.off('SIGINT', stop).off('SIGTERM', stop);
  }
}

export const signerCommand: Command = { usage: USAGE, run };
