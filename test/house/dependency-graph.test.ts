/**
 * What the processes of the application plane are made of, down to the packages' own dependencies: no Temporal, no KMS, no
 * chain library, whoever brings it along. Lint sees what our files say; this sees what is there in the end.
 */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, relative } from 'node:path';
import { packageRoot } from '../../dev/root.ts';
import { environmentOf, written } from './compose-file.ts';

/** Clients of what lies behind the valve. */
const FORBIDDEN = /^(?:@temporalio\/|@aws-sdk\/|@smithy\/|viem$|ethers$|web3|ox$|@noble\/secp256k1$)/;
const dist = join(packageRoot, 'dist');
const APIS = readdirSync(join(packageRoot, 'api')).filter((name) =>
  existsSync(join(packageRoot, 'api', name, 'main.ts')),
);

const WORKERS = readdirSync(join(packageRoot, 'workers')).filter((name) =>
  existsSync(join(packageRoot, 'workers', name, 'main.ts')),
);

/** Imports and re-exports, static and dynamic; and files that threads are started with. */
const SPECIFIERS = /\b(?:from|import|new URL)\s*\(?\s*['"`]([^'"`]+)['"`]/g;

interface Graph {
  /** Our own files, relative to dist. */
  files: Set<string>;
  packages: Set<string>;
}

/** Everything that a file can load: by static and dynamic imports, and by the dependencies of each package there. */
function graphOf(entry: string): Graph {
  const graph: Graph = { files: new Set(), packages: new Set() };
  const visit = (file: string): void => {
    const name = relative(dist, file);
    if (graph.files.has(name)) return;
    graph.files.add(name);
    const source = readFileSync(file, 'utf8');
    for (const [, specifier = ''] of source.matchAll(SPECIFIERS)) {
      if (specifier.startsWith('.')) visit(join(dirname(file), specifier));
      else if (!specifier.startsWith('node:')) addPackage(graph.packages, specifier, packageRoot);
    }
    // A path that is put together at run time would be found by nobody.
    assert.ok(!/\bimport\s*\(\s*[^'"`\s)]/.test(source), `${name} imports what cannot be known`);
  };
  visit(join(dist, entry));
  return graph;
}

function addPackage(packages: Set<string>, specifier: string, from: string): void {
  const name = specifier.split('/', specifier.startsWith('@') ? 2 : 1).join('/');
  const directory = findPackage(name, from);
  if (directory === undefined || packages.has(name)) return; // an optional one that is not installed
  packages.add(name);
  const manifest = JSON.parse(readFileSync(join(directory, 'package.json'), 'utf8')) as {
    dependencies?: Record<string, string>;
    optionalDependencies?: Record<string, string>;
    /** Optional peers are loaded where they are installed. */
    peerDependencies?: Record<string, string>;
    peerDependenciesMeta?: Record<string, object>;
  };
  const needs = {
    ...manifest.dependencies,
    ...manifest.optionalDependencies,
    ...manifest.peerDependencies,
    ...manifest.peerDependenciesMeta,
  };
  for (const needed of Object.keys(needs)) {
    addPackage(packages, needed, directory);
  }
}

/** As Node looks for it: in node_modules here, and further up. */
function findPackage(name: string, from: string): string | undefined {
  for (let directory = from; ; directory = dirname(directory)) {
    const found = join(directory, 'node_modules', name);
    if (existsSync(join(found, 'package.json'))) return found;
    if (directory === packageRoot || directory === dirname(directory)) return undefined;
  }
}

const forbidden = ({ packages }: Graph): string[] => [...packages].filter((name) => FORBIDDEN.test(name)).toSorted();
const ofClerk = ({ packages }: Graph): string[] => [...packages].filter((name) => name.startsWith('@clerk/'));
const foreign = ({ files }: Graph): string[] =>
  [...files].filter((file) => !/^(?:api\/|protocol\/|sql\/(?:login|binary-array|handovers)\.js$)/.test(file));

/** The packages that a process really loads when it starts; it ends at once, since it is told nothing by its environment. */
function loadedBy(entry: string): Set<string> {
  const directory = mkdtempSync(join(tmpdir(), 'kiff-loaded-'));
  try {
    const hooks = join(directory, 'hooks.mjs');
    writeFileSync(
      hooks,
      `import { writeSync } from 'node:fs';
       export async function load(url, context, next) { writeSync(1, 'LOADED ' + url + '\\n'); return next(url, context); }`,
    );
    const preload = join(directory, 'preload.mjs');
    writeFileSync(
      preload,
      `import { createRequire, register } from 'node:module';
       register('./hooks.mjs', import.meta.url);
       const { cache } = createRequire(import.meta.url);
       process.on('exit', () => { for (const file of Object.keys(cache)) process.stdout.write('LOADED ' + file + '\\n'); });`,
    );
    const { stdout } = spawnSync(process.execPath, ['--import', preload, join(dist, entry)], {
      env: {},
      encoding: 'utf8',
      timeout: 30_000,
      maxBuffer: 64 * 1024 * 1024,
    });
    const paths = stdout.split('\n').filter((line) => line.startsWith('LOADED '));
    return new Set(paths.flatMap((path) => /.*\/node_modules\/((?:@[^/]+\/)?[^/]+)\//.exec(path)?.[1] ?? []));
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

describe('what the application plane is made of', function () {
  this.timeout(60_000);

  it('control: the API processes are found', () => {
    for (const name of ['custody', 'ingest']) assert.ok(APIS.includes(name), name);
  });

  for (const api of APIS) {
    it(`api/${api}: no Temporal, KMS or chain library in its dependencies, and none of our files but its own`, () => {
      const graph = graphOf(`api/${api}/main.js`);
      assert.ok(graph.packages.has('express') && graph.packages.has('pg'), 'control: the graph is there');
      assert.deepEqual([forbidden(graph), foreign(graph)], [[], []]);
    });

    it(`api/${api}: nor does it load any, or anything that this test did not find`, () => {
      const loaded = loadedBy(`api/${api}/main.js`);
      const { packages } = graphOf(`api/${api}/main.js`);
      assert.ok(loaded.has('express') && loaded.has('pg'), 'control: what it loads is seen');
      assert.deepEqual(
        [...loaded].filter((name) => FORBIDDEN.test(name) || !packages.has(name)),
        [],
      );
    });

    it(`api/${api}: nothing of the other plane in its environment, nor Clerk’s secret key`, () => {
      const names = Object.keys(environmentOf(api === 'ingest' ? 'api' : api));
      assert.ok(names.includes('DATABASE_URL'));
      assert.deepEqual(
        names.filter((name) => /TEMPORAL|^AWS_|^KMS_|RPC|JOURNAL|OPERATOR|RELAYER|CLERK_SECRET/.test(name)),
        [],
      );
    });
  }

  it('Clerk is known here and nowhere else: no worker loads it, so none can wait for it (F44)', () => {
    assert.ok(ofClerk(graphOf('api/ingest/main.js')).includes('@clerk/express'), 'control');
    for (const worker of WORKERS) assert.deepEqual(ofClerk(graphOf(`workers/${worker}/main.js`)), [], worker);
    for (const service of Object.keys(written.services)) {
      // The signer verifies admins' evidence itself, by a public key and without Clerk's library: it waits for nobody either.
      const known = service === 'signing' ? ['CLERK_JWT_KEY', 'CLERK_AUTHORIZED_PARTIES'] : [];
      const told = Object.keys(environmentOf(service)).filter(
        (name) => name.startsWith('CLERK_') && !known.includes(name),
      );
      assert.ok(
        told.length === 0 || APIS.includes(service === 'api' ? 'ingest' : service),
        `${service}: ${told.join()}`,
      );
    }
  });

  it('control: a worker’s dependencies are found, by both ways', () => {
    const graph = graphOf('workers/signing/main.js');
    for (const name of ['@temporalio/worker', '@aws-sdk/client-kms', 'viem']) {
      assert.ok(forbidden(graph).includes(name), name);
      assert.ok(loadedBy('workers/signing/main.js').has(name), name);
    }
    assert.ok(foreign(graph).includes('activities/signing/create.js'));
  });
});
