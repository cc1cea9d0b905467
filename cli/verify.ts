/** `kiff verify`: verifies a receipt, a certificate of custody, a whole log, a promise or the end of a log against a policy and a chain, without asking the operator anything. */
import { createHash } from 'node:crypto';
import {
  BUNDLE_HEAD,
  looksLikeCertificate,
  NotJsonError,
  verifyBundle,
  verifyCertificateText,
  verifyEndText,
  verifyLog,
  verifyPromiseText,
  verifyReceiptText,
  type Report,
} from '../protocol/index.ts';
import { UsageError, type Command, type Terminal } from './command.ts';
import { peek, readChunks, readPolicy, readText, textOf } from './input.ts';
import { createProgress } from './progress.ts';
import { renderReport } from './report.ts';
import { createHttpRpc } from './rpc.ts';
import { readArguments, USAGE, type Arguments } from './verify-arguments.ts';

type Told = Parameters<typeof renderReport>[0];

/** Node's own SHA-256: about twice as fast as the portable one. */
const sha256 = (bytes: Uint8Array): Uint8Array => createHash('sha256').update(bytes).digest();

async function verify(
  args: Arguments,
  stdin: AsyncIterable<Uint8Array>,
  onProgress: (progress: { seals: number; entries: number }) => void,
): Promise<Told> {
  const chain = { offline: args.offline, ...(args.rpc !== undefined && { rpc: createHttpRpc(args.rpc) }) };
  if (args.kind === 'promise') {
    const policy = await readPolicy(args.policy, stdin);
    const receipt = args.receipt === undefined ? undefined : await readText('receipt', args.receipt, stdin);
    const promise = await readText('promise', args.promise, stdin);
    return verifyPromiseText(promise, policy, { ...chain, ...(receipt !== undefined && { receipt }) });
  }
  if (args.kind === 'end') {
    const policy = await readPolicy(args.policy, stdin);
    const receipts: string[] = [];
    for (const path of args.receipts) receipts.push(await readText('receipt', path, stdin));
    return verifyEndText(await readText('end statement', args.end, stdin), policy, { ...chain, receipts });
  }
  if (args.kind === 'log') {
    return verifyLog(args.origin, await readPolicy(args.policy, stdin), createHttpRpc(args.rpc!));
  }
  const policy = args.policy === undefined ? null : await readPolicy(args.policy, stdin);
  const { head, chunks } = await peek(readChunks('receipt', args.file, stdin), BUNDLE_HEAD.length);
  if (Buffer.from(head).toString('latin1') !== BUNDLE_HEAD) {
    const text = await textOf('receipt', chunks);
    const verifyText = looksLikeCertificate(text) ? verifyCertificateText : verifyReceiptText;
    return verifyText(text, policy, { ...chain, trustReceipt: args.trustReceipt });
  }
  if (policy === null)
    throw new UsageError('a bundle needs --policy FILE: it says whose log it must be, and since when');
  return verifyBundle(chunks, policy, { ...(chain.rpc && { rpc: chain.rpc }), sha256, onProgress });
}

/** A failed check decides before an unreachable node: a node that answers could not mend it. */
function exitCode({ ok, checks, rpcUnreachable }: Report<string>): number {
  if (ok) return 0;
  return rpcUnreachable && checks.every(({ status }) => status !== 'failed') ? 3 : 1;
}

async function run(args: readonly string[], { stdin, stdout, stderr }: Terminal): Promise<number> {
  // Known before the arguments are, so that a mistake in them is also told in JSON.
  const json = args.includes('--json');
  try {
    const progress = createProgress(stderr);
    const report = await verify(readArguments(args), stdin, ({ seals, entries }) =>
      progress.show(`${seals} seals, ${entries} entries`),
    );
    progress.end();
    stdout.write(json ? `${JSON.stringify(report)}\n` : renderReport(report, stdout.isTTY === true));
    return exitCode(report);
  } catch (error) {
    const told = error instanceof NotJsonError ? new UsageError(`what was given is unusable: ${error.message}`) : error;
    if (!(told instanceof UsageError)) throw told;
    if (json) stdout.write(`${JSON.stringify({ ok: false, error: told.message })}\n`);
    stderr.write(`kiff verify: ${told.message}\nSee: kiff verify --help\n`);
    return 2;
  }
}

export const verifyCommand: Command = { usage: USAGE, run };
