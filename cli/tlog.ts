/** `kiff tlog`: what transparency-log tools take, made of our formats, and their proof format verified. Asks nobody. */
import { parseArgs } from 'node:util';
import {
  FormatError,
  NotJsonError,
  parseReceiptText,
  tlogProofOf,
  verifierKey,
  verifyTlogProofText,
} from '../protocol/index.ts';
import { printable, UsageError, type Command, type Terminal } from './command.ts';
import { readPolicy, readText } from './input.ts';
import { renderReport } from './report.ts';

const USAGE = `Usage: kiff tlog proof RECEIPT.json
       kiff tlog verify PROOF --policy FILE [--json]
       kiff tlog key --policy FILE [ORIGIN]

  proof     prints a receipt's inclusion as c2sp.org/tlog-proof@v1, with the entry as extra data. What the record says, and
            that the seal stands on chain, is the receipt's to prove
  verify    verifies such a proof
  key       prints the operator's keys of each log in the policy, or of one, as tools take them: <origin>+<id>+<key>

  --policy FILE     the policy that says whose log it is (kiff.policy/1)
  --json            prints one JSON object

A file named - is read from standard input.

Exit code: 0 done or verified, 1 a check failed, 2 the input is unusable.
`;

function parse(args: readonly string[]) {
  try {
    return parseArgs({
      args: [...args],
      allowPositionals: true,
      options: { policy: { type: 'string' }, json: { type: 'boolean', default: false } },
    });
  } catch (error) {
    throw new UsageError(error instanceof Error ? error.message : 'the arguments are wrong');
  }
}

async function act(args: readonly string[], { stdin, stdout }: Terminal): Promise<number> {
  const { values, positionals } = parse(args);
  const [action, given, ...more] = positionals;
  if (more.length > 0) throw new UsageError('too many arguments');
  const policyPath = (): string => {
    if (values.policy === undefined) throw new UsageError(`${action} needs --policy FILE`);
    if (values.policy === '-' && given === '-') throw new UsageError('only one file can come from standard input');
    return values.policy;
  };
  const file = (what: string): string => {
    if (given === undefined) throw new UsageError(`no ${what} was given`);
    return given;
  };

  switch (action) {
    case 'proof': {
      if (values.policy !== undefined) throw new UsageError('proof takes no policy');
      stdout.write(await proofOf(file('receipt'), stdin));
      return 0;
    }
    case 'verify': {
      const policy = await readPolicy(policyPath(), stdin);
      const report = verifyTlogProofText(await readText('proof', file('proof'), stdin), policy);
      stdout.write(values.json ? `${JSON.stringify(report)}\n` : renderReport(report, stdout.isTTY === true));
      return report.ok ? 0 : 1;
    }
    case 'key': {
      const { logs } = await readPolicy(policyPath(), stdin);
      const wanted = logs.filter(({ origin }) => given === undefined || origin === given);
      const keys = wanted.flatMap(({ origin, checkpointKeys = [] }) =>
        checkpointKeys.map((key) => verifierKey(origin, key)),
      );
      if (keys.length === 0) throw new UsageError('the policy names no key of the operator for such a log');
      stdout.write(`${keys.join('\n')}\n`);
      return 0;
    }
    case undefined:
      throw new UsageError('say what to do');
    default:
      throw new UsageError(`there is no action ${printable(action)}`);
  }
}

async function proofOf(path: string, stdin: AsyncIterable<Uint8Array>): Promise<string> {
  const text = await readText('receipt', path, stdin);
  try {
    return tlogProofOf(parseReceiptText(text));
  } catch (error) {
    if (error instanceof FormatError || error instanceof NotJsonError || error instanceof TypeError) {
      throw new UsageError(`the receipt is unusable: ${error.message}`);
    }
    throw error;
  }
}

async function run(args: readonly string[], terminal: Terminal): Promise<number> {
  try {
    return await act(args, terminal);
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    terminal.stderr.write(`kiff tlog: ${error.message}\nSee: kiff tlog --help\n`);
    return 2;
  }
}

export const tlogCommand: Command = { usage: USAGE, run };
