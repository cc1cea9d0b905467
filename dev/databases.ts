/** The two databases of the local stack, on one server. */
import pg from 'pg';
import { fromHex, type Hex } from '../protocol/hex.ts';
import type { LoginSecrets } from '../sql/login.ts';
import { prepareDatabases } from '../sql/prepare.ts';
import type { Login } from '../sql/roles.ts';
import type { Secrets } from './secrets.ts';

export interface Deployment {
  host: string;
  chainId: number;
  contract: Hex;
  periodSeconds: number;
  incarnation: string;
}

/** The URL of a login on one of the databases of the server that `superuserUrl` names. */
export function loginUrl(superuserUrl: string, secrets: Secrets, login: Login, database: string): string {
  const url = new URL(superuserUrl);
  url.username = login;
  url.password = secrets.logins[login];
  url.pathname = `/${database}`;
  return url.href;
}

export async function withClient<T>(url: string, use: (client: pg.Client) => Promise<T>): Promise<T> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    return await use(client);
  } finally {
    await client.end();
  }
}

/** Brings both databases to the newest version, as the migration job of a deployment does. @returns how many migrations ran */
export async function prepareLocalDatabases(
  superuserUrl: string,
  secrets: Secrets,
  { incarnation, ...deployment }: Deployment,
): Promise<number> {
  const { ran } = await prepareDatabases({
    productServer: superuserUrl,
    journalServer: superuserUrl,
    passwords: secrets.logins,
    loginSecrets: loginSecrets(secrets),
    deployment: { ...deployment, contract: Buffer.from(fromHex(deployment.contract, 20)) },
    incarnation,
  });
  return ran;
}

export const loginSecrets = (secrets: Secrets): LoginSecrets => ({
  tenant: Buffer.from(secrets.tenantLogin, 'hex'),
  custody: Buffer.from(secrets.custodyLogin, 'hex'),
});

/** Runs as the owner of the schemas, which only the migration job may become. */
export async function asOwner<T>(client: pg.Client, run: () => Promise<T>): Promise<T> {
  await client.query('SET ROLE kiff_owner');
  try {
    return await run();
  } finally {
    await client.query('RESET ROLE');
  }
}
