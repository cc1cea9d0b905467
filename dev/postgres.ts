import { execFile, type PromiseWithChild } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import {
  chownSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readFileSync,
  realpathSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { dirname, resolve } from 'node:path';
import { promisify } from 'node:util';
import { freePort } from './ports.ts';
import { makeDataDirectory, serverAccount, serverBinaries, type Account, type Binaries } from './postgres-host.ts';
import { PostgresServer, asAccount, type StopMode } from './postgres-server.ts';
import { atExit } from './process.ts';

const run = promisify(execFile);

export interface PostgresOptions {
  /**
   * Where the cluster lies. As root, when the account `postgres` cannot reach that place, it becomes a symbolic link to
   * a directory in /var/tmp: remove a cluster with {@link removePostgres}. The superuser's password is kept beside it
   * (`….password`, mode 0600).
   */
  dataDir: string;
  /** A free one unless given. */
  port?: number;
  /** Becomes a link to the server's log, which lies in the cluster, where the server can write as whoever it runs. */
  logFile?: string;
  /** False: a crash of the machine may lose the cluster, which makes tests quicker. Commits stay synchronous. */
  durable?: boolean;
  /** Gives the start up: nothing runs then, and a cluster that was being made is gone. */
  signal?: AbortSignal | undefined;
}

export interface Postgres {
  port: number;
  /** Of the database `postgres`, with the superuser's password. */
  superuserUrl: string;
  /** What the server logs. */
  logFile: string;
  url(database: string, user: string, password: string): string;
  /** Stops and starts it on the same port. `immediate` is a crash: no checkpoint, and recovery at the start. */
  restart(options?: { mode?: StopMode }): Promise<void>;
  /** Settles when the server ends without having been told to by `stop` or `restart`. Seen within a second. */
  exited: Promise<void>;
  /** Repeatable. Open connections are ended. */
  stop(): Promise<void>;
}

/**
 * A PostgreSQL server of our own on 127.0.0.1 (no Unix socket), with passwords (SCRAM) also for the superuser. A cluster
 * that exists is started again; a server of it that outlived a killed supervisor is stopped first. pg_ctl detaches the
 * server, so a terminal's Ctrl-C does not reach it.
 *
 * @throws with the end of the server's log when it does not start; the signal's reason
 */
export async function startPostgres(options: PostgresOptions): Promise<Postgres> {
  const { durable = true, signal } = options;
  const dataDir = resolve(options.dataDir);
  const account = serverAccount();
  const binaries = await serverBinaries(account);
  mkdirSync(dirname(dataDir), { recursive: true });
  const password = superuserPassword(dataDir);
  if (!exists(dataDir)) await createCluster(dataDir, { binaries, account, password, durable, signal });

  const server = new PostgresServer(clusterDirectory(dataDir), binaries, account, durable);
  await server.stopLeftover();
  signal?.throwIfAborted();
  if (options.logFile !== undefined) linkLog(options.logFile, server.logFile);
  for (let attempt = 1; ; attempt++) {
    const port = options.port ?? (await freePort());
    try {
      await server.start(port);
      if (signal?.aborted === true) await server.stop('fast');
      signal?.throwIfAborted();
      return handle(server, port, password);
    } catch (error) {
      const portTaken = (error as Error).message.includes('Address already in use');
      if (!portTaken || options.port !== undefined || attempt === 3) throw error;
    }
  }
}

function linkLog(link: string, log: string): void {
  mkdirSync(dirname(link), { recursive: true });
  rmSync(link, { force: true });
  symlinkSync(log, link);
}

/** Removes a cluster, with the directory that a link stands for, stopping its server if there is one. */
export async function removePostgres(path: string): Promise<void> {
  const dataDir = resolve(path);
  if (exists(dataDir) && existsSync(dataDir)) {
    const account = serverAccount();
    const directory = clusterDirectory(dataDir);
    await new PostgresServer(directory, await serverBinaries(account), account, true).stopLeftover();
    rmSync(directory, { recursive: true, force: true });
  }
  rmSync(dataDir, { force: true });
  rmSync(passwordFile(dataDir), { force: true });
}

function handle(server: PostgresServer, port: number, password: string): Postgres {
  const stopNow = (): void => server.stopAtExit();
  let forget = atExit(stopNow);
  let ended!: () => void;
  const exited = new Promise<void>((settle) => (ended = settle));
  let watch: AbortController;
  const watchIt = (): void => {
    watch = new AbortController();
    void server.ended(watch.signal).then(ended);
  };
  watchIt();
  const url = (database: string, user: string, secret: string): string =>
    `postgres://${encodeURIComponent(user)}:${encodeURIComponent(secret)}@127.0.0.1:${port}/${encodeURIComponent(database)}`;
  return {
    port,
    superuserUrl: url('postgres', 'postgres', password),
    logFile: server.logFile,
    url,
    exited,
    restart: async ({ mode = 'fast' } = {}) => {
      watch.abort();
      await server.stop(mode);
      await server.start(port);
      forget = atExit(stopNow);
      watchIt();
    },
    stop: async () => {
      watch.abort();
      await server.stop('fast');
      forget();
    },
  };
}

interface NewCluster {
  binaries: Binaries;
  account: Account | undefined;
  password: string;
  durable: boolean;
  signal: AbortSignal | undefined;
}

/** Made under another name and then renamed or linked: an initdb that is killed leaves nothing that looks like a cluster. */
async function createCluster(
  dataDir: string,
  { binaries, account, password, durable, signal }: NewCluster,
): Promise<void> {
  const directory = makeDataDirectory(dataDir, account);
  const passwordCopy = `${directory}.password`;
  rmSync(passwordCopy, { force: true });
  try {
    writeFileSync(passwordCopy, password, { mode: 0o600, flag: 'wx' });
    if (account) chownSync(passwordCopy, account.uid, account.gid);
    const args = ['-D', directory, '--username=postgres', '--auth=scram-sha-256', `--pwfile=${passwordCopy}`];
    args.push('--encoding=UTF8', '--no-locale', ...(durable ? [] : ['--no-sync']));
    await untilDone(run(binaries.initdb, args, asAccount(account)), signal);
  } catch (error) {
    rmSync(directory, { recursive: true, force: true });
    throw error;
  } finally {
    rmSync(passwordCopy, { force: true });
  }
  if (directory === `${dataDir}.new`) renameSync(directory, dataDir);
  else symlinkSync(directory, dataDir);
}

/** Ends the program on a signal, and waits for its end: what it writes to is removed next. @throws the signal's reason */
async function untilDone(running: PromiseWithChild<unknown>, signal: AbortSignal | undefined): Promise<void> {
  const end = (): void => void running.child.kill();
  signal?.addEventListener('abort', end);
  try {
    await running;
  } finally {
    signal?.removeEventListener('abort', end);
    signal?.throwIfAborted();
  }
}

/** @throws when the directory that a link stands for is gone, or is somebody else's */
function clusterDirectory(dataDir: string): string {
  if (!existsSync(dataDir))
    throw new Error(`the cluster that ${dataDir} links to is gone; begin anew with: npm start -- --fresh`);
  const directory = realpathSync(dataDir);
  const owner = serverAccount()?.uid ?? process.getuid?.();
  if (lstatSync(directory).uid !== owner)
    throw new Error(`${directory} was made by another user (is one run as root?)`);
  return directory;
}

function exists(dataDir: string): boolean {
  return lstatSync(dataDir, { throwIfNoEntry: false }) !== undefined;
}

function passwordFile(dataDir: string): string {
  return `${dataDir}.password`;
}

function superuserPassword(dataDir: string): string {
  const file = passwordFile(dataDir);
  if (!existsSync(file)) {
    if (exists(dataDir)) throw new Error(`${file} is gone, and with it the way into ${dataDir}`);
    writeFileSync(file, randomBytes(24).toString('base64url'), { mode: 0o600 });
  }
  return readFileSync(file, 'utf8');
}
