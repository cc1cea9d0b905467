/** `kiff verify`: verifies a receipt, a promise or the end of a log against a policy and a chain, without asking the operator anything. */
import { NotJsonError, verifyEndText, verifyPromiseText, verifyReceiptText, type Report } from '../protocol/index.ts';
import { UsageError, type Command, type Terminal } from './command.ts';
import { readPolicy, readText } from './input.ts';
import { renderReport } from './report.ts';
import { createHttpRpc } from './rpc.ts';
import { readArguments, USAGE, type Arguments } from './verify-arguments.ts';

async function verify(args: Arguments, stdin: AsyncIterable<Uint8Array>): Promise<Report<string>> {
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
  const policy = args.policy === undefined ? null : await readPolicy(args.policy, stdin);
  const receipt = await readText('receipt', args.receipt, stdin);
  return verifyReceiptText(receipt, policy, { ...chain, trustReceipt: args.trustReceipt });
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
    const report = await verify(readArguments(args), stdin);
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
