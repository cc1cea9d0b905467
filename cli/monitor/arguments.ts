/** What `kiff monitor` may be told. */
import { parseArgs } from 'node:util';
import { UsageError } from '../command.ts';
import { httpUrl, rpcUrl } from '../rpc.ts';

export const USAGE = `Usage: kiff monitor --policy FILE --rpc URL --state FILE [--log ORIGIN …] [--public-log URL | --chain-only]
                    [--every SECONDS] [--webhook URL] [--once] [--json]

Watches logs from outside: the contract on chain, and the logs as their operator publishes them. It trusts the policy and its own memory.

  --policy FILE      whose logs, which contract, which keys (kiff.policy/1)
  --rpc URL          an Ethereum JSON-RPC node of that chain
  --state FILE       its memory; made when it is not there, and kept by nobody else meanwhile
  --log ORIGIN       watch this log alone; may be given again. All logs of the policy unless given
  --public-log URL   where the logs are published; https://<host of the origin> unless given
  --chain-only       watch the chain alone
  --every SECONDS    between two looks; a quarter of a period, 5 minutes at most, unless given
  --webhook URL      each report is posted there too, as JSON
  --once             one look
  --json             reports as JSON lines, also on a terminal

A log that is not public wants a key of scope "read" in KIFF_API_KEY.

Exit code, after one look or when it is stopped: 0 nothing is wrong, 1 something is, 2 the input is unusable, 3 the RPC is unreachable.
`;

export interface Arguments {
  readonly policy: string;
  readonly rpc: URL;
  readonly state: string;
  readonly logs: readonly string[];
  /** null: the chain alone; undefined: where each origin says. */
  readonly publicLog: URL | null | undefined;
  readonly everySeconds: number | undefined;
  readonly webhook: URL | undefined;
  readonly once: boolean;
  readonly json: boolean;
}

function parse(args: readonly string[]) {
  try {
    return parseArgs({
      args: [...args],
      options: {
        policy: { type: 'string' },
        rpc: { type: 'string' },
        state: { type: 'string' },
        log: { type: 'string', multiple: true, default: [] },
        'public-log': { type: 'string' },
        'chain-only': { type: 'boolean', default: false },
        every: { type: 'string' },
        webhook: { type: 'string' },
        once: { type: 'boolean', default: false },
        json: { type: 'boolean', default: false },
      },
    });
  } catch (error) {
    throw new UsageError(error instanceof Error ? error.message : 'the arguments are wrong');
  }
}

function needed(name: string, value: string | undefined): string {
  if (value === undefined) throw new UsageError(`${name} is missing`);
  return value;
}

function seconds(text: string): number {
  const value = Number(text);
  if (!/^[0-9]{1,6}$/.test(text) || value < 1) throw new UsageError('--every takes seconds, a whole number from 1 on');
  return value;
}

/** @throws UsageError that says what is missing or does not go together */
export function readArguments(args: readonly string[]): Arguments {
  const { values } = parse(args);
  const published = values['public-log'];
  if (published !== undefined && values['chain-only']) {
    throw new UsageError('give either --public-log or --chain-only, not both');
  }
  if (values.once && values.every !== undefined) throw new UsageError('--every has no meaning with --once');
  return {
    policy: needed('--policy FILE', values.policy),
    rpc: rpcUrl(needed('--rpc URL', values.rpc)),
    state: needed('--state FILE', values.state),
    logs: values.log,
    publicLog: values['chain-only'] ? null : published === undefined ? undefined : httpUrl('--public-log', published),
    everySeconds: values.every === undefined ? undefined : seconds(values.every),
    webhook: values.webhook === undefined ? undefined : httpUrl('--webhook', values.webhook),
    once: values.once,
    json: values.json,
  };
}
