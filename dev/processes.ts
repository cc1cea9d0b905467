/** Our own processes: each gets its own credentials in its environment, and nothing else. */
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import type { Hex } from '../protocol/hex.ts';
import { JOURNAL, PRODUCT } from '../sql/prepare.ts';
import { LOCAL_PARTY, localJwtKey } from './clerk.ts';
import { loginUrl } from './databases.ts';
import type { StackEnv } from './env.ts';
import type { KmsAccess, TemporalAccess } from './parts.ts';
import { startProcess, type RunningProcess } from './process.ts';
import { packageRoot } from './root.ts';
import type { Secrets } from './secrets.ts';

export interface Surroundings {
  state: string;
  env: StackEnv;
  secrets: Secrets;
  superuserUrl: string;
  temporal: TemporalAccess;
  kms: KmsAccess;
  rpcUrl: string;
  chainId: number;
  contract: Hex;
  fromBlock: number;
  periodSeconds: number;
  apiPort: number;
  custodyPort: number;
  webhooksPort: number;
  vetoPort: number;
}

export const PROCESSES = [
  'api',
  'custody',
  'webhooks',
  'sealing',
  'signing',
  'anchoring',
  'keyadmin',
  'migration',
  'notify',
  'veto',
] as const;
export type ProcessName = (typeof PROCESSES)[number];

/** What has an environment of its own: the processes, and the operator's recovery, which is started by hand and ends. */
export type ProgramName = ProcessName | 'recovery';

const ENTRY: Record<ProcessName, string> = {
  api: 'api/ingest/main.js',
  custody: 'api/custody/main.js',
  webhooks: 'api/webhooks/main.js',
  sealing: 'workers/sealing/main.js',
  signing: 'workers/signing/main.js',
  anchoring: 'workers/anchoring/main.js',
  keyadmin: 'workers/keyadmin/main.js',
  migration: 'workers/migration/main.js',
  notify: 'workers/notify/main.js',
  veto: 'workers/veto/main.js',
};

/** The application plane: served over HTTP, and without Temporal, KMS or chain. */
export const isApi = (name: ProcessName): boolean => ENTRY[name].startsWith('api/');

/** Served over HTTP: the APIs, and the one page of the signing plane. */
const listens = (name: ProcessName): boolean => isApi(name) || name === 'veto';

/** The whole environment of one program. */
export function environmentOf(name: ProgramName, around: Surroundings): Record<string, string> {
  const { env, secrets, superuserUrl, temporal } = around;
  const database = (login: Parameters<typeof loginUrl>[2]) => loginUrl(superuserUrl, secrets, login, PRODUCT);
  const chain = { CHAIN_ID: String(around.chainId), CONTRACT: around.contract };
  const incarnation = { KIFF_INCARNATION: env.KIFF_INCARNATION };
  const roles = {
    KMS_SIGNER_ARN: around.kms.roles.signer,
    KMS_RELAYER_ARN: around.kms.roles.relayer,
    KMS_ADMIN_ARN: around.kms.roles.admin,
    KMS_BREAK_GLASS_ARN: around.kms.roles.breakGlass,
  };
  switch (name) {
    case 'api':
      return {
        ...incarnation,
        DATABASE_URL: database('kiff_api'),
        TENANT_LOGIN_SECRET: secrets.tenantLogin,
        PROMISE_KEY: secrets.promiseKey,
        API_HOST: '127.0.0.1',
        API_PORT: String(around.apiPort),
        CHAIN_ID: chain.CHAIN_ID,
        CONTRACT: chain.CONTRACT,
        CLERK_JWT_KEY: localJwtKey(around.state),
        CLERK_AUTHORIZED_PARTIES: LOCAL_PARTY,
      };
    case 'custody':
      return {
        ...incarnation,
        ...chain,
        DATABASE_URL: database('kiff_custody'),
        CUSTODY_LOGIN_SECRET: secrets.custodyLogin,
        CUSTODY_ORIGIN: custodyOrigin(around),
        CLERK_JWT_KEY: localJwtKey(around.state),
        CLERK_AUTHORIZED_PARTIES: LOCAL_PARTY,
        PASSKEY_MIN_AGE_SECONDS: passkeyAge(around),
        API_HOST: '127.0.0.1',
        API_PORT: String(around.custodyPort),
      };
    case 'webhooks':
      return {
        ...incarnation,
        DATABASE_URL: database('kiff_webhooks'),
        CLERK_WEBHOOK_SIGNING_SECRET: secrets.webhookSigning,
        API_HOST: '127.0.0.1',
        API_PORT: String(around.webhooksPort),
      };
    case 'sealing':
      return {
        ...temporal.env,
        ...incarnation,
        DATABASE_URL: database('kiff_sealing'),
        KIFF_HOST: env.KIFF_HOST,
        SEAL_SPREAD_SECONDS: String(Math.floor(around.periodSeconds / 60)),
        // The defaults are what these are where a period is an hour.
        CUSTODY_APPROVALS_SECONDS: String(72 * around.periodSeconds),
        CUSTODY_HANDOVER_SECONDS: String(72 * around.periodSeconds),
        CUSTODY_OBSERVATION_SECONDS: String(720 * around.periodSeconds),
      };
    case 'signing':
      return {
        ...temporal.env,
        ...chain,
        BASE_RPC_URLS: around.rpcUrl,
        ...roles,
        ...aws(around.kms, 'signer'),
        ...incarnation,
        DATABASE_URL: database('kiff_signing'),
        JOURNAL_URL: loginUrl(superuserUrl, secrets, 'kiff_journal', JOURNAL),
        FROM_BLOCK: String(around.fromBlock),
        KIFF_HOST: env.KIFF_HOST,
        CLERK_JWT_KEY: localJwtKey(around.state),
        CLERK_AUTHORIZED_PARTIES: LOCAL_PARTY,
        CUSTODY_ORIGIN: custodyOrigin(around),
        PASSKEY_MIN_AGE_SECONDS: passkeyAge(around),
      };
    case 'anchoring':
      return {
        ...temporal.env,
        ...chain,
        BASE_RPC_URLS: around.rpcUrl,
        ...aws(around.kms, 'relayer'),
        ...incarnation,
        DATABASE_URL: database('kiff_anchoring'),
        FROM_BLOCK: String(around.fromBlock),
        POLL_SECONDS: '1',
        IDLE_SECONDS: '10',
      };
    case 'keyadmin':
      return {
        ...temporal.env,
        ...roles,
        ...aws(around.kms, 'admin'),
        ...incarnation,
        DATABASE_URL: database('kiff_keyadmin'),
      };
    case 'migration':
      return {
        ...temporal.env,
        ...incarnation,
        DATABASE_URL: database('kiff_migrate'),
        TENANT_LOGIN_SECRET: secrets.tenantLogin,
        CUSTODY_LOGIN_SECRET: secrets.custodyLogin,
      };
    case 'recovery':
      return {
        ...temporal.env,
        ...chain,
        BASE_RPC_URL: around.rpcUrl,
        ...incarnation,
        DATABASE_URL: database('kiff_recovery'),
        JOURNAL_URL: loginUrl(superuserUrl, secrets, 'kiff_journal_recovery', JOURNAL),
        FROM_BLOCK: String(around.fromBlock),
      };
    case 'notify':
      return {
        ...incarnation,
        DATABASE_URL: database('kiff_notify'),
        VETO_ORIGIN: `http://localhost:${around.vetoPort}`,
        CUSTODY_ORIGIN: custodyOrigin(around),
        MAIL_URL: pathToFileURL(join(around.state, 'mail')).href,
        MAIL_FROM: 'KIFF Cloud <custody@kiff.invalid>',
        WEBHOOKS_TO_LOOPBACK: 'true',
      };
    case 'veto':
      return {
        ...incarnation,
        DATABASE_URL: database('kiff_veto'),
        API_HOST: '127.0.0.1',
        API_PORT: String(around.vetoPort),
      };
  }
}

/** By a name: passkeys are bound to a domain, and an address is none. */
export const custodyOrigin = ({ custodyPort }: Surroundings): string => `http://localhost:${custodyPort}`;

/** A day where periods are as in production. */
const passkeyAge = ({ periodSeconds }: Surroundings): string => String(periodSeconds >= 3_600 ? 86_400 : 0);

/** AWS's standard variables for one role; the files and the metadata service that the SDK would also ask are switched off. */
function aws(kms: KmsAccess, role: keyof KmsAccess['keys']): Record<string, string> {
  return {
    AWS_ENDPOINT_URL_KMS: kms.url,
    AWS_REGION: kms.region,
    AWS_ACCESS_KEY_ID: kms.keys[role].id,
    AWS_SECRET_ACCESS_KEY: kms.keys[role].secret,
    AWS_CONFIG_FILE: '/dev/null',
    AWS_SHARED_CREDENTIALS_FILE: '/dev/null',
    AWS_EC2_METADATA_DISABLED: 'true',
    AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED: 'true',
  };
}

/**
 * Starts one process and waits until it says that it is ready, or stops it when the signal comes first.
 * @param besides what a test puts into its environment to spoil it
 */
export function startOwn(
  name: ProcessName,
  around: Surroundings,
  signal?: AbortSignal,
  besides: Readonly<Record<string, string>> = {},
): Promise<RunningProcess> {
  return startProcess({
    name,
    entry: join(packageRoot, 'dist', ENTRY[name]),
    env: { ...environmentOf(name, around), ...besides },
    logFile: join(around.state, 'logs', `${name}.log`),
    pidFile: join(around.state, `${name}.pid`),
    ready: listens(name) ? /listening on/ : /"msg":"ready"/,
    signal,
  });
}
