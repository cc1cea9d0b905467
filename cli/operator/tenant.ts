/** `kiff tenant`: list, show, create, pause, resume and limit tenants. For operators: it needs the login kiff_operator. */
import { parseArgs } from 'node:util';
import pg from 'pg';
import { printable, UsageError, type Command, type Terminal } from '../command.ts';
import { readOperatorUrl } from './env.ts';
import {
  createTenant,
  readAwaited,
  readTenant,
  readTenants,
  Refused,
  setLimits,
  setPaused,
  type AwaitedTenant,
  type Limits,
  type TenantView,
} from './tenants.ts';

const USAGE = `Usage: kiff tenant list [--json]
       kiff tenant show ID [--json]
       kiff tenant create ID [--wait SECONDS] [--json]
       kiff tenant pause ID
       kiff tenant resume ID
       kiff tenant limits ID --requests N --records N [--key KEY]

  list      every tenant, its state, and how far its log has come; then those that an organisation waits for
  show      one of them, and whether everybody may read its log: only its admins decide that, with a second factor
  create    schema, logins, signing key, log on chain, first API key (shown once); waits until it can be used. Of one that an
            organisation waits for: takes a sign-up that failed up again; its admins make the keys
  pause     takes no records and seals nothing until resumed; the API knows it within 5 seconds
  resume    what was not sealed meanwhile is made up by the next seal
  limits    how many requests and records a second each API process takes; it knows new ones within 5 seconds

  --wait SECONDS    how long create waits (60); the onboarding goes on all the same, and create may be said again
  --requests N      a whole number from 1, or "none"
  --records N       the same
  --key KEY         of this key of the tenant's (k…), not of the tenant as a whole
  --json            prints JSON

OPERATOR_DATABASE_URL names the product database with the login kiff_operator; nothing else is needed.

Exit code: 0 done, 1 refused or failed, 2 the arguments or the environment are unusable.
`;

interface Arguments {
  action: (typeof ACTIONS)[number];
  id: string;
  waitSeconds: number;
  json: boolean;
  /** Only of `limits`. */
  limits: Limits;
  keyId: string | null;
}

const ACTIONS = ['list', 'show', 'create', 'pause', 'resume', 'limits'] as const;
/** PostgreSQL's largest integer. */
const MOST = 2_147_483_647;

function readArguments(args: readonly string[]): Arguments {
  let parsed;
  try {
    parsed = parseArgs({
      args: [...args],
      allowPositionals: true,
      options: {
        wait: { type: 'string', default: '60' },
        json: { type: 'boolean', default: false },
        requests: { type: 'string' },
        records: { type: 'string' },
        key: { type: 'string' },
      },
    });
  } catch (error) {
    throw new UsageError(error instanceof Error ? error.message : String(error));
  }
  const [said, id, ...more] = parsed.positionals;
  const { wait, json, requests, records, key } = parsed.values;
  const action = ACTIONS.find((each) => each === said);
  if (action === undefined) {
    throw new UsageError(said === undefined ? 'say what to do' : `there is no action ${printable(said)}`);
  }
  if ((action === 'list') !== (id === undefined) || more.length > 0) {
    throw new UsageError(action === 'list' ? 'list takes no tenant' : `${action} takes one tenant`);
  }
  if (!/^[1-9]\d{0,4}$/.test(wait)) throw new UsageError('--wait takes seconds');
  const limiting = action === 'limits';
  if (!limiting && [requests, records, key].some((option) => option !== undefined)) {
    throw new UsageError('--requests, --records and --key are of limits');
  }
  return {
    action,
    id: id ?? '',
    waitSeconds: Number(wait),
    json,
    limits: limiting
      ? { requests: limit('--requests', requests), records: limit('--records', records) }
      : { requests: null, records: null },
    keyId: key ?? null,
  };
}

/** Both are said, so that nobody lifts one by leaving it out. */
function limit(option: string, text: string | undefined): number | null {
  if (text === 'none') return null;
  if (text === undefined || !/^[1-9]\d{0,9}$/.test(text) || Number(text) > MOST) {
    throw new UsageError(`limits takes ${option}: a whole number from 1, or none`);
  }
  return Number(text);
}

async function run(args: readonly string[], { stdout, stderr }: Terminal): Promise<number> {
  try {
    const wanted = readArguments(args);
    const client = new pg.Client({
      connectionString: readOperatorUrl(),
      connectionTimeoutMillis: 5_000,
      application_name: 'kiff-operator',
    });
    // A connection that breaks fails the query that runs on it.
    client.on('error', () => undefined);
    try {
      await client.connect();
      stdout.write(await act(client, wanted));
      return 0;
    } finally {
      await client.end();
    }
  } catch (error) {
    const unusable = error instanceof UsageError;
    if (!unusable && !(error instanceof Refused) && !isDatabaseError(error)) throw error;
    stderr.write(`kiff tenant: ${printable((error as Error).message)}\n${unusable ? 'See: kiff tenant --help\n' : ''}`);
    return unusable ? 2 : 1;
  }
}

/** The server's own words, and those of a connection that fails; anything else is a bug and shows its stack. */
function isDatabaseError(error: unknown): boolean {
  return (
    error instanceof pg.DatabaseError ||
    (error instanceof Error && 'code' in error) ||
    /^timeout|^Connection/.test((error as Error).message)
  );
}

/** @returns what to print */
async function act(client: pg.Client, wanted: Arguments): Promise<string> {
  const { action, id, waitSeconds, json } = wanted;
  switch (action) {
    case 'list': {
      const tenants = await readTenants(client);
      const awaited = await readAwaited(client);
      return json ? lines([...tenants, ...awaited]) : table(tenants, awaited);
    }
    case 'show': {
      const tenant = await readTenant(client, id);
      return json ? lines(tenant) : details(tenant);
    }
    case 'create': {
      const began = performance.now();
      const { tenant, apiKey } = await createTenant(client, id, waitSeconds * 1000);
      const took = ((performance.now() - began) / 1000).toFixed(1);
      if (json) return lines({ ...tenant, apiKey });
      const key = apiKey ?? 'none was made: its admins make the next';
      return `${details(tenant)}  ready after     ${took} s\n  API key         ${key}\n${apiKey === null ? '' : '                  It is shown this once and kept nowhere.\n'}`;
    }
    case 'pause':
    case 'resume':
      await setPaused(client, id, action === 'pause');
      return `${id} is ${action === 'pause' ? 'paused' : 'active'}\n`;
    case 'limits': {
      const { keyId, limits } = wanted;
      await setLimits(client, id, keyId, limits);
      return `${keyId === null ? id : `${keyId} of ${id}`}: ${perSecond(limits)}\n`;
    }
  }
}

const lines = (value: unknown): string => `${JSON.stringify(value, null, 2)}\n`;

const perSecond = ({ requests, records }: Limits): string =>
  `${requests ?? 'any number of'} requests and ${records ?? 'any number of'} records a second`;

function table(tenants: readonly TenantView[], awaited: readonly AwaitedTenant[]): string {
  const known = tenants.map(({ id, status, log }) => [
    id,
    log?.frozen === undefined || log.frozen === null ? status : `${status}, frozen`,
    log === null ? '' : `${log.signedSeq} / ${log.includedSeq} / ${log.finalSeq}`,
  ]);
  const signedUp = awaited.map(({ id, status, createdAt }) => [id, status, `since ${time(createdAt)}`]);
  return [['TENANT', 'STATE', 'SEALS signed / included / final'], ...known, ...signedUp]
    .map(([id = '', state = '', seals = '']) => `${id.padEnd(26)}${state.padEnd(20)}${seals}`.trimEnd())
    .join('\n')
    .concat('\n');
}

function details({ id, status, schemaVersion, createdAt, activatedAt, limits, logPublic, log }: TenantView): string {
  const facts: [string, string][] = [
    ['state', status],
    ['schema', `version ${schemaVersion}`],
    ['created', time(createdAt)],
    ['active since', activatedAt === null ? 'not yet' : time(activatedAt)],
    ['limits', perSecond(limits)],
    ['published', logPublic ? 'for everybody' : 'for who holds a key of it'],
  ];
  if (log !== null) {
    facts.push(
      ['log', log.origin],
      ['log id', log.logId],
      ['first signer', log.genesisSigner],
      ['first period', log.firstPeriod === null ? 'not yet' : time(log.firstPeriod)],
      ['on chain', log.registered ? 'registered' : 'not yet'],
      ['frozen', log.frozen ?? 'no'],
      ['seals', `${log.signedSeq} signed, ${log.includedSeq} in a block, ${log.finalSeq} final`],
    );
  }
  return `${id}\n${facts.map(([name, value]) => `  ${name.padEnd(16)}${value}\n`).join('')}`;
}

const time = (unixSeconds: number): string => new Date(unixSeconds * 1000).toISOString().slice(0, 19).concat('Z');

export const tenantCommand: Command = { usage: USAGE, run };
