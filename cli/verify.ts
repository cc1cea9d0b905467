/** `kiff verify`: verifies a receipt against a policy and a chain, without asking the operator anything. */
import { createReadStream } from 'node:fs';
import { parseArgs } from 'node:util';
import {
  decodeUtf8Strict,
  FormatError,
  JsonError,
  NotJsonError,
  parsePolicyText,
  verifyReceiptText,
  type Policy,
  type Verification,
} from '../protocol/index.ts';
import { UsageError, type Command, type Terminal } from './command.ts';
import { renderReport } from './report.ts';
import { createHttpRpc } from './rpc.ts';

const USAGE = `Usage: kiff verify RECEIPT.json [--policy FILE | --trust-receipt] (--rpc URL | --offline) [--json]

  RECEIPT.json      the receipt; - reads it from standard input
  --policy FILE     the policy that says whose log it must be (kiff.policy/1)
  --trust-receipt   waives the check "policy": believe the receipt about its log and contract
  --rpc URL         an Ethereum JSON-RPC node of the receipt's chain
  --offline         waives the checks "anchor" and "finality"
  --json            prints one JSON object

Exit code: 0 every check held that was not waived, 1 a check failed, 2 the input is unusable, 3 the RPC is unreachable.
`;

/** A record has 64 KiB at most, escaped perhaps six times that; handovers are about 2 kB each. */
const MAX_INPUT_BYTES = 16 * 1024 * 1024;

interface Arguments {
  readonly receipt: string;
  readonly policy: string | undefined;
  readonly trustReceipt: boolean;
  readonly rpc: URL | undefined;
  readonly offline: boolean;
}

function rpcUrl(text: string): URL {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url === undefined || (url.protocol !== 'http:' && url.protocol !== 'https:')) {
    throw new UsageError('--rpc takes an http or https URL');
  }
  // fetch refuses URLs with credentials; say so before it looks like a dead node.
  if (url.username !== '' || url.password !== '')
    throw new UsageError('--rpc takes no user name or password in the URL');
  return url;
}

function readArguments(args: readonly string[]): Arguments {
  const parsed = (() => {
    try {
      return parseArgs({
        args: [...args],
        allowPositionals: true,
        options: {
          policy: { type: 'string' },
          'trust-receipt': { type: 'boolean', default: false },
          rpc: { type: 'string' },
          offline: { type: 'boolean', default: false },
          json: { type: 'boolean', default: false },
        },
      });
    } catch (error) {
      throw new UsageError(error instanceof Error ? error.message : 'the arguments are wrong');
    }
  })();
  const { values, positionals } = parsed;
  const [receipt, ...more] = positionals;
  if (receipt === undefined) throw new UsageError('no receipt was given');
  if (more.length > 0) throw new UsageError('one receipt at a time');
  const trustReceipt = values['trust-receipt'];
  if (values.policy !== undefined && trustReceipt) {
    throw new UsageError(
      'give either --policy or --trust-receipt: a policy is what spares you from trusting the receipt',
    );
  }
  if (values.rpc !== undefined && values.offline) throw new UsageError('give either --rpc or --offline, not both');
  if (values.rpc === undefined && !values.offline) {
    throw new UsageError(
      'give --rpc URL to ask the chain, or --offline to leave the checks "anchor" and "finality" out',
    );
  }
  return {
    receipt,
    policy: values.policy,
    trustReceipt,
    rpc: values.rpc === undefined ? undefined : rpcUrl(values.rpc),
    offline: values.offline,
  };
}

async function readText(what: string, chunks: AsyncIterable<Uint8Array>): Promise<string> {
  const parts: Uint8Array[] = [];
  let size = 0;
  try {
    for await (const chunk of chunks) {
      size += chunk.length;
      if (size > MAX_INPUT_BYTES) throw new UsageError(`the ${what} is larger than ${MAX_INPUT_BYTES} bytes`);
      parts.push(chunk);
    }
  } catch (error) {
    if (error instanceof UsageError) throw error;
    const reason = error instanceof Error && 'code' in error ? String(error.code) : 'unreadable';
    throw new UsageError(`the ${what} cannot be read: ${reason}`);
  }
  try {
    return decodeUtf8Strict(Buffer.concat(parts));
  } catch (error) {
    if (error instanceof JsonError) throw new UsageError(`the ${what} is unusable: ${error.message}`);
    throw error;
  }
}

async function readPolicy(path: string): Promise<Policy> {
  const text = await readText('policy', createReadStream(path));
  try {
    return parsePolicyText(text);
  } catch (error) {
    if (error instanceof FormatError || error instanceof NotJsonError) {
      throw new UsageError(`the policy is unusable: ${error.message}`);
    }
    throw error;
  }
}

async function verify(args: Arguments, stdin: AsyncIterable<Uint8Array>): Promise<Verification> {
  const policy = args.policy === undefined ? null : await readPolicy(args.policy);
  const source = await readText('receipt', args.receipt === '-' ? stdin : createReadStream(args.receipt));
  try {
    return await verifyReceiptText(source, policy, {
      trustReceipt: args.trustReceipt,
      offline: args.offline,
      ...(args.rpc === undefined ? {} : { rpc: createHttpRpc(args.rpc) }),
    });
  } catch (error) {
    if (error instanceof NotJsonError) throw new UsageError(`the receipt is unusable: ${error.message}`);
    throw error;
  }
}

/** A failed check decides before an unreachable node: a node that answers could not mend it. */
function exitCode({ ok, checks, rpcUnreachable }: Verification): number {
  if (ok) return 0;
  return rpcUnreachable && checks.every(({ status }) => status !== 'failed') ? 3 : 1;
}

async function run(args: readonly string[], { stdin, stdout, stderr }: Terminal): Promise<number> {
  // Known before the arguments are, so that a mistake in them is also told in JSON.
  const json = args.includes('--json');
  try {
    const verification = await verify(readArguments(args), stdin);
    stdout.write(json ? `${JSON.stringify(verification)}\n` : renderReport(verification, stdout.isTTY === true));
    return exitCode(verification);
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    if (json) stdout.write(`${JSON.stringify({ ok: false, error: error.message })}\n`);
    stderr.write(`kiff verify: ${error.message}\nSee: kiff verify --help\n`);
    return 2;
  }
}

export const verifyCommand: Command = { summary: 'verify a receipt', usage: USAGE, run };
