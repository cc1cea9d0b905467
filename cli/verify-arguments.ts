/** What `kiff verify` may be told, and which of it goes together. */
import { parseArgs } from 'node:util';
import { UsageError } from './command.ts';
import { rpcUrl } from './rpc.ts';

export const USAGE = `Usage: kiff verify RECEIPT.json [--policy FILE | --trust-receipt] (--rpc URL | --offline) [--json]
       kiff verify CERTIFICATE.json [--policy FILE | --trust-receipt] (--rpc URL | --offline) [--json]
       kiff verify BUNDLE --policy FILE (--rpc URL | --offline) [--json]
       kiff verify --log ORIGIN --policy FILE --rpc URL [--json]
       kiff verify --promise PROMISE.json --policy FILE [--receipt RECEIPT.json (--rpc URL | --offline)] [--json]
       kiff verify --end END.txt --policy FILE [--receipt RECEIPT.json … (--rpc URL | --offline)] [--json]

  RECEIPT.json      the receipt; - reads it from standard input
  CERTIFICATE.json  of a succession of a log's signer (kiff.custody/1); verified as a receipt is, with the same flags
  BUNDLE            a whole log, or some of its periods, as kiff export writes it (kiff.bundle/1); - as above
  --log ORIGIN      lists from the chain alone which seals of a log exist, and which are missing
  --policy FILE     the policy that says whose log it must be (kiff.policy/1)
  --trust-receipt   waives the check "policy": believe the receipt about its log and contract
  --rpc URL         an Ethereum JSON-RPC node of the receipt's chain
  --offline         waives the checks "anchor" and "finality"
  --promise FILE    verifies a promise: the answer of POST /v1/records, or its member "promise"; - as above
  --end FILE        verifies the operator's statement that a log has ended; - as above
  --receipt FILE    the promised record's receipt, which shows whether the promise was kept; or one or more receipts of
                    a log that ended and of the one after it, which shows where they are apart; - as above
  --json            prints one JSON object

Exit code: 0 every check held that was not waived, 1 a check failed, 2 the input is unusable, 3 the RPC is unreachable.
`;

interface Chain {
  readonly rpc: URL | undefined;
  readonly offline: boolean;
}

/** A receipt or a bundle to verify, a log on chain, a promise, or the end of a log. Each string is a path, or `-`. */
export type Arguments = Chain &
  // Which of the two it is, its first bytes tell.
  (
    | {
        readonly kind: 'receipt-or-bundle';
        readonly file: string;
        readonly policy?: string;
        readonly trustReceipt: boolean;
      }
    | { readonly kind: 'log'; readonly origin: string; readonly policy: string }
    | { readonly kind: 'promise'; readonly promise: string; readonly policy: string; readonly receipt?: string }
    | { readonly kind: 'end'; readonly end: string; readonly policy: string; readonly receipts: readonly string[] }
  );

function parse(args: readonly string[]) {
  try {
    return parseArgs({
      args: [...args],
      allowPositionals: true,
      options: {
        policy: { type: 'string' },
        'trust-receipt': { type: 'boolean', default: false },
        rpc: { type: 'string' },
        offline: { type: 'boolean', default: false },
        promise: { type: 'string' },
        end: { type: 'string' },
        log: { type: 'string' },
        receipt: { type: 'string', multiple: true, default: [] },
        json: { type: 'boolean', default: false },
      },
    });
  } catch (error) {
    throw new UsageError(error instanceof Error ? error.message : 'the arguments are wrong');
  }
}

/** @throws UsageError that says what is missing or does not go together */
export function readArguments(args: readonly string[]): Arguments {
  const { values, positionals } = parse(args);
  const { policy, promise, end, log, rpc, offline, receipt: receipts } = values;
  const [receipt, ...more] = positionals;
  if (more.length > 0) throw new UsageError('one receipt or bundle at a time');
  if (rpc !== undefined && offline) throw new UsageError('give either --rpc or --offline, not both');
  const chain = { rpc: rpc === undefined ? undefined : rpcUrl(rpc), offline };
  const needChain = (): void => {
    if (rpc !== undefined || offline) return;
    throw new UsageError(
      'give --rpc URL to ask the chain, or --offline to leave the checks "anchor" and "finality" out',
    );
  };

  if (log !== undefined) {
    if (receipt !== undefined || promise !== undefined || end !== undefined || receipts.length > 0) {
      throw new UsageError('--log goes with nothing but --policy and --rpc: it asks the chain alone');
    }
    if (policy === undefined) throw new UsageError('--log needs --policy FILE: it names the contract');
    if (rpc === undefined) throw new UsageError('--log needs --rpc URL: it asks the chain alone');
    return { kind: 'log', origin: log, policy, ...chain };
  }
  if (promise !== undefined && end !== undefined) throw new UsageError('give either --promise or --end, not both');
  if (promise !== undefined || end !== undefined) {
    const flag = promise === undefined ? '--end' : '--promise';
    if (receipt !== undefined) throw new UsageError(`with ${flag} the receipt is given as --receipt FILE`);
    if (values['trust-receipt']) throw new UsageError(`--trust-receipt has no meaning with ${flag}`);
    if (policy === undefined)
      throw new UsageError(`${flag} needs --policy FILE: it names the key that it is signed with`);
    if (receipts.length > 0) needChain();
    if ([promise, end, policy, ...receipts].filter((path) => path === '-').length > 1) {
      throw new UsageError('only one file can come from standard input');
    }
    if (end !== undefined) return { kind: 'end', end, policy, receipts, ...chain };
    if (receipts.length > 1) throw new UsageError('a promise has one receipt');
    return { kind: 'promise', promise: promise!, policy, ...(receipts[0] && { receipt: receipts[0] }), ...chain };
  }
  if (receipts.length > 0)
    throw new UsageError('--receipt goes with --promise or --end; alone a receipt needs no flag');
  if (receipt === undefined) throw new UsageError('no receipt and no bundle was given');
  if (policy !== undefined && values['trust-receipt']) {
    throw new UsageError(
      'give either --policy or --trust-receipt: a policy is what spares you from trusting the receipt',
    );
  }
  needChain();
  return {
    kind: 'receipt-or-bundle',
    file: receipt,
    ...(policy !== undefined && { policy }),
    trustReceipt: values['trust-receipt'],
    ...chain,
  };
}
