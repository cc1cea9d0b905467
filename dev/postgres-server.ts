import { execFile, spawnSync } from 'node:child_process';
import { existsSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { promisify } from 'node:util';
import type { Account, Binaries } from './postgres-host.ts';
import { processBirth, processCommand } from './process-identity.ts';

const run = promisify(execFile);

export type StopMode = 'fast' | 'immediate';

/** pg_ctl on one cluster. */
export class PostgresServer {
  readonly logFile: string;
  private readonly directory: string;
  private readonly binaries: Binaries;
  private readonly account: Account | undefined;
  private readonly durable: boolean;

  constructor(directory: string, binaries: Binaries, account: Account | undefined, durable: boolean) {
    this.directory = directory;
    this.binaries = binaries;
    this.account = account;
    this.durable = durable;
    this.logFile = join(directory, 'server.log');
  }

  async start(port: number): Promise<void> {
    const settings = {
      listen_addresses: '127.0.0.1',
      unix_socket_directories: '',
      max_connections: '200',
      synchronous_commit: 'on',
      timezone: 'UTC',
      log_timezone: 'UTC',
      log_checkpoints: 'off',
      ...(this.durable ? {} : { fsync: 'off', full_page_writes: 'off' }),
    };
    const flags = Object.entries(settings).map(([name, value]) => `-c ${name}='${value}'`);
    const deadline = performance.now() + 15_000;
    for (;;) {
      rmSync(this.logFile, { force: true });
      try {
        await this.pgCtl('start', '-w', '-t', '60', '-l', this.logFile, '-o', `-p ${port} ${flags.join(' ')}`);
        return;
      } catch (error) {
        const log = existsSync(this.logFile) ? readFileSync(this.logFile, 'utf8').trimEnd() : String(error);
        // The last backends of a killed server still hold its shared memory; they notice within a moment.
        if (!log.includes('pre-existing shared memory block') || performance.now() > deadline) {
          throw new Error(`PostgreSQL did not start:\n${log.split('\n').slice(-15).join('\n')}`, { cause: error });
        }
        await delay(100);
      }
    }
  }

  async stop(mode: StopMode): Promise<void> {
    if (this.pid === undefined) return;
    try {
      await this.pgCtl('stop', '-w', '-t', '30', '-m', mode);
    } catch (error) {
      if (this.pid === undefined) return; // it had ended by itself
      if (mode === 'immediate') throw error;
      await this.pgCtl('stop', '-w', '-t', '30', '-m', 'immediate');
    }
  }

  /**
   * The running server's process. The pid file alone does not say that there is one: after a crash it stays, and its
   * number can become another process's, which pg_ctl would take for the server and signal.
   */
  get pid(): number | undefined {
    let pid: number;
    try {
      pid = Number(readFileSync(this.pidFile, 'utf8').split('\n', 1)[0]);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
      throw error;
    }
    const command = processCommand(pid);
    return command !== undefined && `${command} `.includes(`-D ${this.directory} `) ? pid : undefined;
  }

  /**
   * Settles when the running server has ended. It is no child of ours, so it is asked once a second, which keeps nobody
   * running. Aborting the signal ends the asking, and the answer then never comes.
   */
  ended(signal: AbortSignal): Promise<void> {
    const { pid } = this;
    const birth = pid === undefined ? undefined : processBirth(pid);
    if (pid === undefined || birth === undefined) return Promise.resolve();
    return new Promise((resolve) => {
      const asking = setInterval(() => {
        if (processBirth(pid) === birth) return;
        clearInterval(asking);
        resolve();
      }, 1_000);
      asking.unref();
      signal.addEventListener('abort', () => clearInterval(asking));
    });
  }

  /** Stops a server of this cluster that an earlier run left. */
  async stopLeftover(): Promise<void> {
    if (this.pid !== undefined) await this.stop('immediate');
    else rmSync(this.pidFile, { force: true }); // it would also keep the new server from starting
  }

  /** Synchronous: at exit nothing else can run any more. */
  stopAtExit(): void {
    spawnSync(this.binaries.pgCtl, ['stop', '-D', this.directory, '-w', '-m', 'fast'], {
      ...this.asAccount(),
      stdio: 'ignore',
    });
  }

  private get pidFile(): string {
    return join(this.directory, 'postmaster.pid');
  }

  private async pgCtl(command: string, ...args: string[]): Promise<void> {
    await run(this.binaries.pgCtl, [command, '-D', this.directory, '-s', ...args], this.asAccount());
  }

  private asAccount(): ReturnType<typeof asAccount> {
    return asAccount(this.account);
  }
}

/** A working directory and an environment that suit every account: messages in English, and no PG… settings of ours. */
export function asAccount(account: Account | undefined): {
  cwd: string;
  env: Record<string, string>;
  uid?: number;
  gid?: number;
} {
  return { cwd: '/', env: { PATH: process.env['PATH'] ?? '/usr/bin:/bin', LC_ALL: 'C' }, ...account };
}
