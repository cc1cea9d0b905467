/** Configuration of the migration job. Nothing else in this process reads the environment. */
import { z } from 'zod';
import { LOGINS, type Login } from './roles.ts';
import type { Preparation } from './prepare.ts';

const url = z.string().regex(/^postgres(ql)?:\/\/\S+$/, 'must be a postgres:// URL');
/** Passwords also stand in the URLs that the processes are given, so they need no escaping there. */
const password = z.string().regex(/^[\w-]{16,}$/, 'must be 16 or more of A-Z a-z 0-9 _ -');
const secret = z
  .string()
  .regex(/^(0x)?([0-9a-fA-F]{2}){32,1024}$/, 'must be 32 bytes or more of hex')
  .transform((text) => Buffer.from(text.replace(/^0x/, ''), 'hex'));
const positive = z
  .string()
  .regex(/^[1-9]\d{0,14}$/, 'must be a whole number above zero')
  .transform(Number);

const passwordName = (login: Login): string => `${login.toUpperCase()}_PASSWORD`;

const schema = z.object({
  /** A superuser's URL on the server of the product database. */
  SUPERUSER_URL: url,
  /** The same for the signing journal's server; without it both databases lie on one server. */
  JOURNAL_SUPERUSER_URL: url.optional(),
  /** Tenants' logins' passwords are derived from them; each is shared with the API that logs in so. */
  TENANT_LOGIN_SECRET: secret,
  CUSTODY_LOGIN_SECRET: secret,
  KIFF_HOST: z.string().regex(/^[a-z0-9.-]+(:\d+)?$/, 'must be a host name'),
  CHAIN_ID: positive,
  CONTRACT: z.string().regex(/^0x[0-9a-fA-F]{40}$/, 'must be 0x and 40 hex digits'),
  PERIOD_SECONDS: positive,
  KIFF_INCARNATION: z.string().regex(/^[a-z0-9][a-z0-9-]{0,63}$/, 'must be up to 64 of a-z 0-9 -'),
  ...Object.fromEntries(LOGINS.map((login) => [passwordName(login), password])),
});

/**
 * Besides the variables of the schema there is one password per login: KIFF_MIGRATE_PASSWORD, KIFF_API_PASSWORD, and so on.
 * @throws Error that lists every problem at once, by name, never with a value
 */
export function readMigrationEnv(source: NodeJS.ProcessEnv = process.env): Preparation {
  const parsed = schema.safeParse(source);
  if (!parsed.success) {
    const problems = parsed.error.issues.map(({ path, message }) => {
      const name = path.join('.');
      return `- ${name} ${source[name] === undefined ? 'is missing' : message}`;
    });
    throw new Error(`the migration job cannot start:\n${problems.join('\n')}`);
  }
  const env = parsed.data;
  const passwords = Object.fromEntries(LOGINS.map((login) => [login, source[passwordName(login)]]));
  return {
    productServer: env.SUPERUSER_URL,
    journalServer: env.JOURNAL_SUPERUSER_URL ?? env.SUPERUSER_URL,
    passwords: passwords as Record<Login, string>,
    loginSecrets: { tenant: env.TENANT_LOGIN_SECRET, custody: env.CUSTODY_LOGIN_SECRET },
    deployment: {
      host: env.KIFF_HOST,
      chainId: env.CHAIN_ID,
      contract: Buffer.from(env.CONTRACT.slice(2), 'hex'),
      periodSeconds: env.PERIOD_SECONDS,
    },
    incarnation: env.KIFF_INCARNATION,
  };
}
