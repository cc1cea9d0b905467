/**
 * Completes package-lock.json after `npm install`: `node dev/lockfile.mjs`.
 *
 * anvil's binaries are optional packages, one per platform. A registry mirror that does not carry all of them makes
 * `npm install` drop the absent ones from the lock, and `npm ci` then refuses that lock ("Missing: … from lock file")
 * on every machine. This writes the dropped entries back. They carry no integrity, as nothing was downloaded to take it
 * from: run `npm install` against the full registry before relying on those platforms.
 */
import { readFileSync, writeFileSync } from 'node:fs';

const path = new URL('../package-lock.json', import.meta.url);
const text = readFileSync(path, 'utf8');
const lock = JSON.parse(text);
const anvil = lock.packages['node_modules/@foundry-rs/anvil'];
if (!anvil) throw new Error('package-lock.json has no @foundry-rs/anvil: run npm install first');

const cpus = { amd64: 'x64', arm64: 'arm64' };
const added = [];
for (const [name, version] of Object.entries(anvil.optionalDependencies)) {
  const key = `node_modules/${name}`;
  if (lock.packages[key]) continue;
  const [, os, arch] = /-(darwin|linux|win32)-(amd64|arm64)$/.exec(name) ?? [];
  if (!os) throw new Error(`no platform is known for ${name}`);
  lock.packages[key] = { version, cpu: [cpus[arch]], dev: true, optional: true, os: [os] };
  added.push(name);
}

// npm sorts by locale, not by code unit; the same order keeps its next rewrite free of noise.
lock.packages = Object.fromEntries(Object.entries(lock.packages).toSorted(([a], [b]) => a.localeCompare(b, 'en')));
const completed = `${JSON.stringify(lock, null, 2)}\n`;
if (completed !== text) writeFileSync(path, completed);
process.stdout.write(
  added.length > 0 ? `package-lock.json: added ${added.join(', ')}\n` : 'package-lock.json is complete\n',
);
