/**
 * `kiff dev-token`: a session token of a local stack, signed with the key that `npm start` made for itself. It stands in for
 * signing in at Clerk, on this machine only: a deployment knows Clerk's public key, whose private half nobody here has.
 */
import { createPrivateKey, randomBytes, sign, type KeyObject } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { UsageError, type Command, type Terminal } from './command.ts';
import { packPermissions } from './session-claims.ts';

const USAGE = `Usage: kiff dev-token [--tenant ID | --organisation ID] [--user ID] [--permissions LIST] [--factors MINUTES,MINUTES]
                     [--seconds N] [--state FOLDER]

  --tenant ID          a tenant of the local stack; demo unless given
  --organisation ID    an organisation that a webhook told of, in place of a tenant
  --user ID            who signs in; user_dev unless given
  --permissions LIST   separated by commas; all of org:records:read,org:keys:manage,org:custody:manage,org:audit:read unless given
  --factors A,B        minutes since the first and the second factor were verified, -1 for never; 0,0 unless given
  --seconds N          how long the token is good, at most a day; an hour unless given
  --state FOLDER       the local stack's state; .kiff here unless given

Prints a session token for a local stack (npm start). There must be one, and its key: no other token can be made here.
`;

const PERMISSIONS = ['org:records:read', 'org:keys:manage', 'org:custody:manage', 'org:audit:read'];
const DAY_SECONDS = 86_400;

interface LocalStack {
  key: KeyObject;
  /** The origin that the stack's API takes tokens of. */
  party: string;
}

/** @throws UsageError when this is no state folder of a local stack */
function readStack(state: string): LocalStack {
  const refuse = (why: string): never => {
    throw new UsageError(
      `${state} is not the state of a local stack: ${why}. Development tokens are made for those only`,
    );
  };
  const keyFile = join(state, 'clerk.pem');
  const stackFile = join(state, 'dev.json');
  if (!existsSync(keyFile)) refuse('it has no clerk.pem');
  if (!existsSync(stackFile)) refuse('it has no dev.json, which npm start writes');
  const { apiUrl, clerkParty } = JSON.parse(readFileSync(stackFile, 'utf8')) as Record<string, unknown>;
  const local = typeof apiUrl === 'string' && URL.canParse(apiUrl) && new URL(apiUrl).hostname === '127.0.0.1';
  if (!local) refuse('its API is not on this machine');
  if (typeof clerkParty !== 'string') return refuse('its dev.json names no party');
  return { key: createPrivateKey(readFileSync(keyFile, 'utf8')), party: clerkParty };
}

interface Wanted {
  organisation: string;
  user: string;
  permissions: readonly string[];
  factors: readonly [number, number];
  seconds: number;
}

function token({ key, party }: LocalStack, wanted: Wanted, now: number): string {
  const { organisation, user, permissions, factors, seconds } = wanted;
  const { fea, per, fpm } = packPermissions(permissions);
  const header = { alg: 'RS256', kid: 'local', typ: 'JWT' };
  const claims = {
    azp: party,
    exp: now + seconds,
    fea,
    fva: factors,
    iat: now,
    iss: 'https://clerk.invalid',
    jti: randomBytes(10).toString('hex'),
    nbf: now - 10,
    o: { id: organisation, slg: organisation.replace(/^org_/, ''), rol: 'admin', per, fpm },
    sid: `sess_${randomBytes(12).toString('hex')}`,
    sts: 'active',
    sub: user,
    v: 2,
  };
  const signed = [header, claims].map((part) => Buffer.from(JSON.stringify(part)).toString('base64url')).join('.');
  return `${signed}.${sign('sha256', Buffer.from(signed), key).toString('base64url')}`;
}

function readWanted(args: readonly string[]): Wanted & { state: string } {
  const text = { type: 'string' } as const;
  const parsed = (() => {
    try {
      return parseArgs({
        args: [...args],
        options: {
          tenant: text,
          organisation: text,
          user: text,
          permissions: text,
          factors: text,
          seconds: text,
          state: text,
        },
      }).values;
    } catch (error) {
      throw new UsageError(error instanceof Error ? error.message : 'the arguments are wrong');
    }
  })();
  if (parsed.tenant !== undefined && parsed.organisation !== undefined) {
    throw new UsageError('give either --tenant or --organisation, not both');
  }
  const organisation = parsed.organisation ?? `org_${parsed.tenant ?? 'demo'}`;
  const user = parsed.user ?? 'user_dev';
  if (!/^org_[A-Za-z0-9_-]{1,60}$/.test(organisation)) throw new UsageError('the organisation must be org_…');
  if (!/^user_[A-Za-z0-9_-]{1,60}$/.test(user)) throw new UsageError('--user takes user_…');
  const permissions = parsed.permissions?.split(',') ?? PERMISSIONS;
  if (!permissions.every((permission) => /^org:[a-z_]+:[a-z_]+$/.test(permission))) {
    throw new UsageError('--permissions takes names such as org:records:read');
  }
  const [, first, second] = /^(-1|\d{1,4}),(-1|\d{1,4})$/.exec(parsed.factors ?? '0,0') ?? [];
  if (first === undefined || second === undefined) throw new UsageError('--factors takes two numbers of minutes');
  const seconds = Number(parsed.seconds ?? 3_600);
  if (!Number.isInteger(seconds) || seconds < 1 || seconds > DAY_SECONDS) {
    throw new UsageError(`--seconds takes a whole number up to ${DAY_SECONDS}`);
  }
  return {
    organisation,
    user,
    permissions,
    factors: [Number(first), Number(second)],
    seconds,
    state: resolve(parsed.state ?? '.kiff'),
  };
}

async function run(args: readonly string[], { stdout, stderr }: Terminal): Promise<number> {
  try {
    const wanted = readWanted(args);
    stdout.write(`${token(readStack(wanted.state), wanted, Math.floor(Date.now() / 1000))}\n`);
    return 0;
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    stderr.write(`kiff dev-token: ${error.message}\nSee: kiff dev-token --help\n`);
    return 2;
  }
}

export const devTokenCommand: Command = { usage: USAGE, run };
