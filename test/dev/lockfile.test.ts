import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { packageRoot } from '../../dev/root.ts';

interface Entry {
  resolved?: string;
  dev?: boolean;
  optional?: boolean;
  optionalDependencies?: Record<string, string>;
}

describe('package-lock.json', () => {
  const lock = JSON.parse(readFileSync(join(packageRoot, 'package-lock.json'), 'utf8')) as {
    packages: Record<string, Entry>;
  };

  it('has the platform packages of every machine (npm ci refuses a lock without them; see dev/lockfile.mjs)', () => {
    const missing = Object.entries(lock.packages).flatMap(([path, { optionalDependencies = {} }]) =>
      Object.keys(optionalDependencies).filter((name) => !isLocked(path, name)),
    );
    assert.deepEqual(missing, []);
    assert.equal(isLocked('node_modules/@foundry-rs/anvil', '@foundry-rs/anvil-no-such-platform'), false);
  });

  it('names no registry: it installs from whichever one is configured', () => {
    assert.deepEqual(
      Object.entries(lock.packages).filter(([, { resolved }]) => resolved !== undefined),
      [],
    );
  });

  /** As Node resolves: beside the package, or in any node_modules above it. */
  function isLocked(from: string, name: string): boolean {
    for (let base = from; ; base = base.slice(0, Math.max(base.lastIndexOf('/node_modules/'), 0))) {
      if (`${base === '' ? '' : `${base}/`}node_modules/${name}` in lock.packages) return true;
      if (base === '') return false;
    }
  }
});
