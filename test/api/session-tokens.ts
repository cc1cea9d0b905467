/** Session tokens as Clerk issues them (version 2), really signed, with a key of the test run's own. */
import { generateKeyPairSync, randomBytes, sign, type KeyObject } from 'node:crypto';
import { createSessionVerifier } from '../../api/access/session-token.ts';
import { packPermissions } from '../../cli/session-claims.ts';

const pair = generateKeyPairSync('rsa', { modulusLength: 2048 });

/** What the API is given. */
export const JWT_KEY = pair.publicKey.export({ type: 'spki', format: 'pem' }).toString();
export const PARTY = 'https://app.kiff.test';

export const verifySession = createSessionVerifier({ jwtKey: JWT_KEY, authorizedParties: [PARTY] });

export interface TokenOptions {
  organisation?: string | null;
  user?: string;
  /** `org:records:read` and so on; all four unless given. */
  permissions?: readonly string[];
  /** Minutes since both factors. */
  factors?: readonly [number, number];
  /** Claims and header members that replace the usual ones; undefined takes one away. */
  claims?: Record<string, unknown>;
  header?: Record<string, unknown>;
  /** Another key's signature, or the text of one. */
  signature?: KeyObject | ((signed: string) => string);
}

const ALL = ['org:records:read', 'org:keys:manage', 'org:custody:manage', 'org:audit:read'];

export const now = (): number => Math.floor(Date.now() / 1000);

/** A user of a test's own. */
export function randomUser(): string {
  return `user_${randomBytes(12).toString('hex')}`;
}

export function sessionToken(options: TokenOptions = {}): string {
  const { organisation = 'org_test', user = randomUser(), permissions = ALL, factors = [0, 0] } = options;
  const { fea, per, fpm } = packPermissions(permissions);
  const at = now();
  const claims = {
    azp: PARTY,
    exp: at + 60,
    fea,
    fva: factors,
    iat: at,
    iss: 'https://clerk.kiff.test',
    jti: randomBytes(10).toString('hex'),
    nbf: at - 10,
    ...(organisation !== null && { o: { id: organisation, slg: 'a-company', rol: 'admin', per, fpm } }),
    sid: 'sess_2test',
    sts: 'active',
    sub: user,
    v: 2,
    ...options.claims,
  };
  const header = { alg: 'RS256', cat: 'cl_B7d4PD111AAA', kid: 'ins_test', typ: 'JWT', ...options.header };
  const signed = `${encode(header)}.${encode(claims)}`;
  const { signature = pair.privateKey } = options;
  const end =
    typeof signature === 'function'
      ? signature(signed)
      : sign('sha256', Buffer.from(signed), signature).toString('base64url');
  return `${signed}.${end}`;
}

function encode(value: object): string {
  return Buffer.from(JSON.stringify(value)).toString('base64url');
}
