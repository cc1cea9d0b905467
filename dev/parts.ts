/** The parts that are not ours: PostgreSQL, Temporal, KMS, Base. Embedded, unless the environment names a real one. */
import { join } from 'node:path';
import { SEARCH_ATTRIBUTES } from '../workflows/attributes.ts';
import { startAnvil } from './anvil.ts';
import type { StackEnv } from './env.ts';
import { ACCESS_KEYS, LOCAL_ROLES, localPrincipals } from './kms-roles.ts';
import type { KeyRoles } from '../activities/kms/policy.ts';
import { freePort } from './ports.ts';
import { startPostgres } from './postgres.ts';
import { startProcess } from './process.ts';
import { part } from './progress.ts';
import { packageRoot } from './root.ts';
import type { Secrets } from './secrets.ts';
import { startTemporal } from './temporal.ts';
import { temporalBinary } from './temporal-binary.ts';

type Stop = () => Promise<unknown>;

/** A part that runs, and how it is stopped. Parts of others are left alone. */
export interface Running<T> {
  value: T;
  stop: Stop;
  /** Settles when the part ends by itself; absent for parts that are not ours. */
  exited?: Promise<unknown>;
}

export interface KmsAccess {
  url: string;
  region: string;
  roles: KeyRoles;
  /** Credentials of each process that talks to KMS. */
  keys: Record<'signer' | 'relayer' | 'admin', { id: string; secret: string }>;
}

/** Seconds from block to block, as on Base. */
const BLOCK_SECONDS = 2;

const external = <T>(value: T): Running<T> => ({ value, stop: async () => undefined });

/** A superuser's URL on a server that is there. */
export async function postgresPart(state: string, env: StackEnv, signal: AbortSignal): Promise<Running<string>> {
  if (env.DATABASE_URL !== undefined) return external(env.DATABASE_URL);
  const postgres = await startPostgres({
    dataDir: join(state, 'postgres'),
    logFile: join(state, 'logs', 'postgres.log'),
    signal,
  });
  return { value: postgres.superuserUrl, stop: () => postgres.stop(), exited: postgres.exited };
}

export interface TemporalAccess {
  address: string;
  namespace: string;
  uiUrl: string | null;
  /** What a worker needs in its environment, by Temporal's standard names. */
  env: Record<string, string>;
}

export async function temporalPart(
  state: string,
  env: StackEnv,
  signal: AbortSignal,
  onProgress: (doing: string) => void,
): Promise<Running<TemporalAccess>> {
  if (env.TEMPORAL_ADDRESS !== undefined) {
    const namespace = env.temporal['TEMPORAL_NAMESPACE'] ?? 'default';
    const uiUrl = env.temporal['TEMPORAL_UI_URL'] ?? null;
    return external({ address: env.TEMPORAL_ADDRESS, namespace, uiUrl, env: { ...env.temporal } });
  }
  const binary = await temporalBinary({ onProgress, signal });
  const temporal = await startTemporal({
    binary,
    dbFile: join(state, 'temporal.db'),
    searchAttributes: SEARCH_ATTRIBUTES,
    logFile: join(state, 'logs', 'temporal.log'),
    signal,
  });
  const { address, namespace, uiUrl } = temporal;
  return {
    value: { address, namespace, uiUrl, env: { TEMPORAL_ADDRESS: address, TEMPORAL_NAMESPACE: namespace } },
    stop: () => temporal.stop(),
    exited: temporal.exited,
  };
}

/** `<access key id>:<secret access key>`, taken apart. */
function credential(pair = ''): { id: string; secret: string } {
  const colon = pair.indexOf(':');
  return { id: pair.slice(0, colon), secret: pair.slice(colon + 1) };
}

export async function kmsPart(
  state: string,
  env: StackEnv,
  secrets: Secrets,
  signal: AbortSignal,
): Promise<Running<KmsAccess>> {
  if (env.AWS_ENDPOINT_URL_KMS !== undefined) {
    return external({
      url: env.AWS_ENDPOINT_URL_KMS,
      region: env.AWS_REGION,
      roles: {
        signer: env.KMS_SIGNER_ARN ?? '',
        relayer: env.KMS_RELAYER_ARN ?? '',
        admin: env.KMS_ADMIN_ARN ?? '',
        breakGlass: env.KMS_BREAK_GLASS_ARN ?? '',
      },
      keys: {
        signer: credential(env.KMS_SIGNER_KEY),
        relayer: credential(env.KMS_RELAYER_KEY),
        admin: credential(env.KMS_ADMIN_KEY),
      },
    });
  }
  const port = await freePort();
  const url = `http://127.0.0.1:${port}`;
  const kms = await startProcess({
    name: 'kms',
    entry: join(packageRoot, 'dist/dev/kms/main.js'),
    env: {
      KMS_STATE_FILE: join(state, 'kms.json'),
      KMS_PRINCIPALS: JSON.stringify(localPrincipals(secrets.kms)),
      KMS_PORT: String(port),
      KMS_CONTROL_TOKEN: secrets.kmsControl,
    },
    logFile: join(state, 'logs', 'kms.log'),
    pidFile: join(state, 'kms.pid'),
    ready: /listening on/,
    signal,
  });
  const key = (role: 'signer' | 'relayer' | 'admin') => ({ id: ACCESS_KEYS[role], secret: secrets.kms[role] });
  return {
    value: {
      url,
      region: env.AWS_REGION,
      roles: LOCAL_ROLES,
      keys: { signer: key('signer'), relayer: key('relayer'), admin: key('admin') },
    },
    stop: () => kms.stop(),
    exited: kms.exited,
  };
}

export async function basePart(state: string, env: StackEnv, signal: AbortSignal): Promise<Running<string>> {
  if (env.BASE_RPC_URL !== undefined) return external(env.BASE_RPC_URL);
  const anvil = await startAnvil({
    stateFile: join(state, 'anvil.json'),
    blockTime: BLOCK_SECONDS,
    logFile: join(state, 'logs', 'anvil.log'),
    signal,
  });
  return { value: anvil.rpcUrl, stop: () => anvil.stop(), exited: anvil.exited };
}

export interface Telling {
  /** A start that is given up has not failed: it ends without a line. */
  stopped: AbortSignal;
  /** Takes the progress lines; standard output unless given. */
  write?: ((line: string) => void) | undefined;
}

/** Brings one part up under a progress line; a failure is named after the part. */
export async function bringUp<T>(
  name: string,
  doing: string,
  up: (onProgress: (doing: string) => void) => Promise<T>,
  detail: (value: T) => string,
  { stopped, write }: Telling,
): Promise<T> {
  const line = part(name, write);
  line.start(doing);
  try {
    const value = await up((now) => line.update(now));
    line.done(detail(value));
    return value;
  } catch (error) {
    if (stopped.aborted) {
      line.stop();
      throw error;
    }
    const message = error instanceof Error ? error.message : String(error);
    line.fail(message.split('\n')[0] ?? message);
    throw new Error(`${name}: ${message}`, { cause: error });
  }
}
