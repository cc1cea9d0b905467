/** What `kiff signer` may be told. */
import { parseArgs } from 'node:util';
import { printable, UsageError } from '../command.ts';
import { httpUrl, rpcUrl } from '../rpc.ts';

export const USAGE = `Usage: kiff signer --policy FILE --journal FILE KEY [--api URL] [--rpc URL] [--recompute DIR] [--ask] [--once] [--json]
       kiff signer status --policy FILE --journal FILE
       kiff signer declare --policy FILE --journal FILE --rpc URL --from-block N [--yes]

Signs for your log, on your own ground: it asks the cloud for what is to be signed, verifies it, and answers. Nobody calls it, and nothing is
signed that the policy, the journal and the published log do not bear out. See docs/custody-tenant-agent.md.

  --policy FILE       what you typed in: log, contract, your key’s address, whom it may hand over to (kiff.signer-policy/1)
  --journal FILE      what it has signed; made when it is not there. One signer for one journal, and keep it: it is what
                      prevents a second statement

  KEY is one of
  --keystore FILE     an encrypted key file (Web3 Secret Storage); its password is read from KIFF_KEYSTORE_PASSWORD
  --kms-key ARN       an AWS KMS key (ECC_SECG_P256K1), with the credentials that the AWS SDK finds
  --wallet URL        a JSON-RPC wallet that does eth_signTypedData_v4

  --api URL           the cloud; https://<host of the log’s origin> unless given
  --rpc URL           a node of your own: nothing is signed that its chain disagrees with
  --recompute DIR     compares the new leaves with your own records, in .json, .ndjson and .jsonl files
  --ask               waits for a yes before it signs
  --once              signs what is there, and ends
  --json              JSON lines

  status              how the signer that runs is, or where its journal ends
  declare             takes where the log stands from the chain into the journal, after it was lost or put back from a copy
  --from-block N      from which block on the last seal is looked for
  --yes               without being asked

An API key with the scope signer is read from KIFF_API_KEY. SIGUSR1 prints a health line to standard error; SIGTERM ends it cleanly.

Exit code: 0 it was stopped, or done, 1 it cannot go on (the journal cannot be written), 2 the input is unusable, or another
signer has the journal, 3 with --once: the cloud is unreachable; with status: no signer runs.
`;

export interface KeyArguments {
  readonly keystore: string | undefined;
  readonly kmsKey: string | undefined;
  readonly wallet: URL | undefined;
}

interface Files {
  readonly policy: string;
  readonly journal: string;
}

export interface RunArguments extends Files {
  readonly action: 'run';
  readonly key: KeyArguments;
  readonly api: URL | undefined;
  readonly rpc: URL | undefined;
  readonly recompute: string | undefined;
  readonly ask: boolean;
  readonly once: boolean;
  readonly json: boolean;
}

export type SignerArguments =
  | RunArguments
  | (Files & { readonly action: 'status' })
  | (Files & { readonly action: 'declare'; readonly rpc: URL; readonly fromBlock: number; readonly yes: boolean });

const text = { type: 'string' } as const;
const flag = { type: 'boolean', default: false } as const;
const FILES = { policy: text, journal: text } as const;
const OPTIONS = {
  run: {
    ...FILES,
    keystore: text,
    'kms-key': text,
    wallet: text,
    api: text,
    rpc: text,
    recompute: text,
    ask: flag,
    once: flag,
    json: flag,
  },
  status: FILES,
  declare: { ...FILES, rpc: text, 'from-block': text, yes: flag },
} as const;

function parsed<T extends Parameters<typeof parseArgs>[0]>(config: T): ReturnType<typeof parseArgs<T & object>> {
  try {
    return parseArgs(config as T & object);
  } catch (error) {
    throw new UsageError(error instanceof Error ? error.message : 'the arguments are wrong');
  }
}

function needed(name: string, value: string | undefined): string {
  if (value === undefined) throw new UsageError(`${name} is missing`);
  return value;
}

/** @throws UsageError that says what is missing or does not go together */
export function readArguments(all: readonly string[]): SignerArguments {
  const [first, ...rest] = all;
  if (first === undefined || first.startsWith('-')) return readRun(all);
  if (first === 'status') {
    const { values } = parsed({ args: rest, options: OPTIONS.status });
    return { action: 'status', ...files(values) };
  }
  if (first === 'declare') {
    const { values } = parsed({ args: rest, options: OPTIONS.declare });
    const block = needed('--from-block N', values['from-block']);
    if (!/^[0-9]{1,15}$/.test(block)) throw new UsageError('--from-block takes a block’s number');
    const rpc = rpcUrl(needed('--rpc URL', values.rpc));
    return { action: 'declare', ...files(values), rpc, fromBlock: Number(block), yes: values.yes };
  }
  throw new UsageError(`there is no ${printable(first)}`);
}

function files({ policy, journal }: { policy?: string | undefined; journal?: string | undefined }): Files {
  return { policy: needed('--policy FILE', policy), journal: needed('--journal FILE', journal) };
}

function readRun(args: readonly string[]): RunArguments {
  const { values } = parsed({ args: [...args], options: OPTIONS.run });
  const { keystore, wallet, 'kms-key': kmsKey, api, rpc, recompute, ask, once, json } = values;
  if ([keystore, kmsKey, wallet].filter((each) => each !== undefined).length !== 1) {
    throw new UsageError('give one key: --keystore FILE, --kms-key ARN or --wallet URL');
  }
  const paths = files(values);
  if (ask && paths.policy === '-') throw new UsageError('with --ask standard input is for your answers');
  return {
    action: 'run',
    ...paths,
    key: { keystore, kmsKey, wallet: wallet === undefined ? undefined : httpUrl('--wallet', wallet) },
    api: api === undefined ? undefined : httpUrl('--api', api),
    rpc: rpc === undefined ? undefined : rpcUrl(rpc),
    recompute,
    ask,
    once,
    json,
  };
}
