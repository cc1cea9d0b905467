/**
 * transparency-dev/tessera's fsck, which walks a tlog-tiles log and recomputes all of it: the tool that our public log is
 * measured with. Built once with Go, at a version that dev/fsck-build pins, into a cache that survives runs and checkouts.
 */
import { realpathSync } from 'node:fs';
import { join } from 'node:path';
import { cacheDirectory, withLock } from './cache.ts';
import { buildGo, inWorkDirectory, keepProgram, runs, type MakingOptions } from './programs.ts';
import { part } from './progress.ts';

/** As in dev/fsck-build/go.mod. */
const VERSION = 'v1.0.4';

/** fsck has no version to say. */
const ASKED = '-help';

/** What was built before; undefined when nothing was. */
export function cachedFsck(): string | undefined {
  const path = join(cacheDirectory('fsck'), VERSION, 'fsck');
  return runs(path, ASKED) ? path : undefined;
}

/** @throws when it is not there and cannot be built: there is no Go, or its modules cannot be had */
async function fsckBinary(options: MakingOptions): Promise<string> {
  const cache = cacheDirectory('fsck');
  const waiting = (pid: number): void => options.onProgress(`waiting for process ${pid}, which is building fsck`);
  const program = {
    what: 'fsck',
    module: 'dev/fsck-build',
    package: 'github.com/transparency-dev/tessera/cmd/fsck',
  };
  return await withLock(cache, waiting, async () => {
    const found = cachedFsck();
    if (found !== undefined) return found;
    return await inWorkDirectory(cache, async (directory) =>
      keepProgram(await buildGo(program, directory, options), cache, VERSION, 'fsck', ASKED),
    );
  });
}

/** Before the tests, not within one's time-out. Without Go everything else is tried all the same: one test says it was not. */
async function prepare(): Promise<void> {
  for (const [signal, code] of [
    ['SIGINT', 130],
    ['SIGTERM', 143],
  ] as const) {
    process.on(signal, () => process.exit(code)); // what it started is ended on exit
  }
  if (cachedFsck() !== undefined) return;
  const progress = part('fsck');
  progress.start('looking for fsck');
  try {
    progress.done(await fsckBinary({ onProgress: (doing) => progress.update(doing) }));
  } catch (error) {
    progress.fail(`${(error as Error).message.split('\n').at(-1)}; the test that walks the public log will be skipped`);
  }
}

if (process.argv[1] !== undefined && realpathSync(process.argv[1]) === import.meta.filename) await prepare();
