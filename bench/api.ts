/** The ingest API of a bench: a process of its own, as it is deployed, on a ground. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { LOCAL_PARTY, localJwtKey } from '../dev/clerk.ts';
import { startCommand, type RunningProcess } from '../dev/process.ts';
import { packageRoot } from '../dev/root.ts';
import { INCARNATION, type Ground } from './ground.ts';

/**
 * @param entry below dist/
 * BENCH_CPU_PROFILE=DIR leaves a CPU profile of the process there.
 */
export async function startApi(
  ground: Ground,
  name: string,
  entry: string,
): Promise<{ port: number; process: RunningProcess }> {
  const logFile = join(ground.directory, `${name}.log`);
  const profile = process.env['BENCH_CPU_PROFILE'];
  const { process: running, ready } = await startCommand({
    name,
    command: process.execPath,
    args: [
      '--enable-source-maps',
      ...(profile === undefined
        ? []
        : ['--cpu-prof', `--cpu-prof-dir=${profile}`, `--cpu-prof-name=${name}.cpuprofile`]),
      join(packageRoot, 'dist', entry),
    ],
    env: {
      DATABASE_URL: ground.url('kiff_api'),
      TENANT_LOGIN_SECRET: ground.secrets.tenantLogin,
      PROMISE_KEY: ground.secrets.promiseKey,
      API_PORT: '0',
      CHAIN_ID: String(ground.chainId),
      CONTRACT: ground.contract,
      KIFF_INCARNATION: INCARNATION,
      CLERK_JWT_KEY: localJwtKey(ground.directory),
      CLERK_AUTHORIZED_PARTIES: LOCAL_PARTY,
    },
    logFile,
    ready: () => /listening on http:\/\/[^:]+:(\d+)/.exec(readFileSync(logFile, 'utf8'))?.[1],
  });
  return { port: Number(ready), process: running };
}
