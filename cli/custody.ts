/** `kiff custody`: what the custody API offers, from a terminal. Approving needs a passkey, hence a browser: its address is printed. */
import { setTimeout as delay } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { printable, UsageError, type Command, type Terminal } from './command.ts';
import { createCustodyApi, Refused, Unreachable, type CustodyApi } from './custody-api.ts';
import { custodyLines, migrationLines, type CustodySeen, type MigrationSeen } from './custody-view.ts';
import { readCustodyEnv } from './env.ts';

const USAGE = `Usage: kiff custody status [--json]
       kiff custody start --to cloud | --to tenant-kms --key ARN | --to tenant-agent --signer ADDRESS [--keep-old-key] [--watch]
       kiff custody show ID [--json]
       kiff custody watch ID
       kiff custody approve ID
       kiff custody passkeys
       kiff custody veto ID
       kiff custody cancel ID

  status     who holds the log's key, since when, and who held it before
  start      begins to hand it over; two admins approve, and it can be stopped until the new key has accepted
  show       how a migration goes
  watch      the same, again and again, until it has ended
  approve    prints the page to approve at: that needs a passkey, hence a browser
  passkeys   prints the page to register one at, a day before it is needed, or to remove one
  veto       stops a migration; no second factor is needed
  cancel     takes it back

  --to KIND         cloud: a fresh key of ours; tenant-kms: yours, in your AWS account: we can sign with it until you revoke it;
                    tenant-agent: a signer that you run, with which we never can sign
  --key ARN         your key's ARN, for tenant-kms
  --signer ADDRESS  your signer's address, for tenant-agent
  --keep-old-key    the old key is disabled, and not deleted in the end
  --watch           follows what was started
  --json            prints JSON

KIFF_CUSTODY_URL is the custody API's origin (https://custody.kiff.dev). KIFF_SESSION_TOKEN is a session token; or
KIFF_SESSION_COMMAND a command that prints one, which is run again when it has ended (on a local stack: npx kiff dev-token).

Exit code: 0 done, 1 refused, or the watched migration was undone, 2 the arguments or the environment are unusable.
`;

const ACTIONS = ['status', 'start', 'show', 'watch', 'approve', 'passkeys', 'veto', 'cancel'] as const;
const WITHOUT_ID: readonly string[] = ['status', 'start', 'passkeys'];
const POLL_MILLISECONDS = 1_000;

function readArguments(args: readonly string[]) {
  const flag = { type: 'boolean', default: false } as const;
  let parsed;
  try {
    parsed = parseArgs({
      args: [...args],
      allowPositionals: true,
      options: {
        to: { type: 'string' },
        key: { type: 'string' },
        signer: { type: 'string' },
        'keep-old-key': flag,
        watch: flag,
        json: flag,
      },
    });
  } catch (error) {
    throw new UsageError(error instanceof Error ? error.message : String(error));
  }
  const [given, id, ...more] = parsed.positionals;
  const action = ACTIONS.find((each) => each === given);
  if (action === undefined)
    throw new UsageError(given === undefined ? 'say what to do' : `there is no ${printable(given)}`);
  if (WITHOUT_ID.includes(action) !== (id === undefined) || more.length > 0) {
    throw new UsageError(
      WITHOUT_ID.includes(action) ? `${action} takes no migration` : `${action} takes one migration`,
    );
  }
  if (id !== undefined && !/^[A-Za-z0-9_-]{16,64}$/.test(id)) throw new UsageError('that is no migration’s id');
  return { action, id: id ?? '', ...parsed.values };
}

const path = (id: string): string => `/v1/custody/migrations/${id}`;

/** Waits for what the signing plane says. @throws Refused with its reason */
async function settled(api: CustodyApi, asked: unknown): Promise<void> {
  const { result } = asked as { result: string };
  for (;;) {
    const { state } = (await api('GET', result)) as { state: string };
    if (state === 'done') return;
    await delay(POLL_MILLISECONDS);
  }
}

/**
 * On a terminal the view is drawn over the last one; elsewhere each news is a text of its own. It takes days: an API that was there and
 * is away now is waited for. @returns the exit code
 */
async function watch(api: CustodyApi, id: string, { stdout }: Terminal): Promise<number> {
  let drawn: string[] = [];
  for (;;) {
    let view: MigrationSeen;
    try {
      view = (await api('GET', path(id))) as MigrationSeen;
    } catch (error) {
      if (!(error instanceof Unreachable) || drawn.length === 0) throw error;
      await delay(POLL_MILLISECONDS);
      continue;
    }
    const lines = migrationLines(view);
    if (lines.join('\n') !== drawn.join('\n')) {
      if (stdout.isTTY === true && drawn.length > 0) stdout.write(`\u001b[${drawn.length}F\u001b[J`);
      stdout.write(`${lines.join('\n')}\n`);
      drawn = lines;
    }
    if (view.state === 'completed') return 0;
    if (view.state === 'undone') return 1;
    await delay(POLL_MILLISECONDS);
  }
}

async function act(args: ReturnType<typeof readArguments>, terminal: Terminal): Promise<number> {
  const { action, id } = args;
  const env = readCustodyEnv();
  const api = createCustodyApi(env);
  const write = (value: unknown, lines: string[]): number => {
    terminal.stdout.write(args.json ? `${JSON.stringify(value, null, 2)}\n` : `${lines.join('\n')}\n`);
    return 0;
  };
  switch (action) {
    case 'status': {
      const custody = (await api('GET', '/v1/custody')) as CustodySeen;
      return write(custody, custodyLines(custody));
    }
    case 'show': {
      const view = (await api('GET', path(id))) as MigrationSeen;
      return write(view, migrationLines(view));
    }
    case 'start': {
      const { to, key, signer } = args;
      if (to === undefined) throw new UsageError('say --to cloud, --to tenant-kms or --to tenant-agent');
      const wanted = {
        custody: to,
        ...(key !== undefined && { keyArn: key }),
        ...(signer !== undefined && { signer: signer.toLowerCase() }),
        deleteOldKey: !args['keep-old-key'],
      };
      const { ref } = (await api('POST', '/v1/custody/migrations', wanted)) as { ref: string };
      terminal.stdout.write(`${ref} was asked for\n  approve at   ${env.url}/migrations/${ref}\n`);
      return args.watch ? watch(api, ref, terminal) : 0;
    }
    case 'watch':
      return watch(api, id, terminal);
    case 'approve':
      terminal.stdout.write(`Approve it here, with your passkey:\n  ${env.url}/migrations/${id}\n`);
      return 0;
    case 'passkeys':
      terminal.stdout.write(
        `Register a passkey here, a day before it is needed, or remove one:\n  ${env.url}/passkeys\n`,
      );
      return 0;
    case 'veto':
    case 'cancel':
      await settled(api, await api('POST', `${path(id)}/${action}`));
      terminal.stdout.write(`${id} is being stopped; see: kiff custody watch ${id}\n`);
      return 0;
  }
}

async function run(args: readonly string[], terminal: Terminal): Promise<number> {
  try {
    return await act(readArguments(args), terminal);
  } catch (error) {
    const unusable = error instanceof UsageError;
    if (!unusable && !(error instanceof Refused)) throw error;
    const more = unusable ? 'See: kiff custody --help\n' : '';
    terminal.stderr.write(`kiff custody: ${printable(error.message)}\n${more}`);
    return unusable ? 2 : 1;
  }
}

export const custodyCommand: Command = { usage: USAGE, run };
