/** What the documents say about the repository is true of it: links, paths, commands, variables, failure types. */
import assert from 'node:assert/strict';
import { existsSync, readFileSync, statSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { packageRoot } from '../../dev/root.ts';
import { sourceFiles } from './source-files.ts';

const read = (path: string): string => readFileSync(join(packageRoot, path), 'utf8');
const { scripts, engines, bin } = JSON.parse(read('package.json')) as {
  scripts: Record<string, string>;
  engines: { node: string };
  bin: Record<string, string>;
};

/** Targets of Markdown links outside code. */
function linksIn(markdown: string): string[] {
  const prose = markdown.replaceAll(/```[\s\S]*?```/g, '').replaceAll(/`[^`\n]*`(?!\])/g, '');
  return [...prose.matchAll(/\]\(([^)\s]+)\)/g)].map(([, target]) => target ?? '');
}

/** Anchors of a Markdown file's headings, as forges make them. */
function anchorsIn(markdown: string): string[] {
  return [...markdown.matchAll(/^#+ (.+)$/gm)].map(([, heading = '']) =>
    heading
      .toLowerCase()
      .replaceAll(/[^\w\- ]/g, '')
      .replaceAll(' ', '-'),
  );
}

function brokenLinks(file: string, markdown: string): string[] {
  return linksIn(markdown).filter((target) => {
    if (/^(https?|mailto):/.test(target)) return false;
    const [path = '', anchor] = target.split('#');
    const linked = path === '' ? file : relative(packageRoot, join(packageRoot, dirname(file), path));
    if (!existsSync(join(packageRoot, linked))) return true;
    if (anchor === undefined) return false;
    const text = linked === file ? markdown : read(linked);
    return !anchorsIn(text).includes(anchor);
  });
}

/** Repository paths that a document names in backticks: `test/…`, `sql/…`, with a file's ending or a slash at the end. */
function missingPaths(markdown: string): string[] {
  const named = [...markdown.matchAll(/`((?:\.ci|[a-z]+)\/[\w./-]*(?:\.[a-z]+|\/))`/g)].map(([, path]) => path ?? '');
  const folders = new Set(sourceFiles().map((file) => file.split('/')[0]));
  return named.filter((path) => folders.has(path.split('/')[0]) && !existsSync(join(packageRoot, path)));
}

describe('documents', () => {
  const documents = sourceFiles().filter((file) => file.endsWith('.md'));

  it('are there', () => {
    for (const file of ['README.md', 'CHANGELOG.md', 'docs/architecture.md']) assert.ok(documents.includes(file), file);
    assert.ok(documents.some((file) => /^docs\/decisions\/\d{4}-\d{2}-\d{2}-[a-z0-9-]+\.md$/.test(file)));
  });

  for (const file of documents) {
    it(`${file}: every link and every path leads somewhere`, () => {
      assert.deepEqual(brokenLinks(file, read(file)), []);
      assert.deepEqual(missingPaths(read(file)), []);
    });
  }

  it('and a broken link, anchor or path would be found', () => {
    assert.deepEqual(brokenLinks('README.md', '[a](no/such.md) [b](#nowhere) [c](LICENSE)'), [
      'no/such.md',
      '#nowhere',
    ]);
    assert.deepEqual(missingPaths('`test/no-such.test.ts` `sql/migrate.ts`'), ['test/no-such.test.ts']);
  });

  describe('README.md', () => {
    const readme = read('README.md');

    it('gives commands that package.json has', () => {
      const commands = [...readme.matchAll(/npm (?:(start|test)\b|run ([\w:-]+))/g)].map(
        ([, short, long]) => short ?? long ?? '',
      );
      assert.ok(commands.includes('start') && commands.includes('test'));
      for (const name of commands) assert.ok(scripts[name], name);
    });

    it('gives flags that its commands have', () => {
      const sources = [
        'dev/start.ts',
        'cli/verify.ts',
        'cli/anchor-input.ts',
        'test/soak/main.ts',
        'bench/anchor/main.ts',
      ];
      const known = [...sources, 'package.json', 'docker-compose.yml'].map(read).join('');
      for (const [flag] of readme.matchAll(/(?<=\s|`)--[a-z][a-z-]+/g)) {
        assert.ok(known.includes(flag) || new RegExp(`\\b${flag.slice(2)}'?:`).test(known), flag);
      }
    });

    it('names variables that dev/env.ts reads, or the standard ones that reach Temporal and AWS', () => {
      const table = /^## Settings$([\s\S]*?)^## /m.exec(readme)?.[1] ?? '';
      const names = [...table.matchAll(/`([A-Z][A-Z_]+)`/g)].map(([, name]) => name ?? '');
      assert.ok(names.length > 5);
      const settings = read('dev/env.ts');
      const standard = /^(TEMPORAL_[A-Z_]+|KMS_(SIGNER|RELAYER|ADMIN)_(ARN|KEY))$/;
      for (const name of names) assert.ok(settings.includes(`${name}:`) || standard.test(name), name);
    });

    it('names the Node version that package.json asks for', () => {
      const version = /\d+\.\d+/.exec(engines.node)?.[0] ?? 'none';
      assert.ok(readme.includes(`Node.js ${version}`));
    });

    it('stays short', () => assert.ok(readme.split('\n').length <= 150));
  });

  it('docs/architecture.md lists every failure type', () => {
    const types = [...read('activities/failures.ts').matchAll(/^ {2}'?([a-z-]+)'?: \{ text:/gm)].map(
      ([, type]) => type ?? '',
    );
    assert.ok(types.length > 15);
    const architecture = read('docs/architecture.md');
    for (const type of types) assert.ok(architecture.includes(`\`${type}\``), type);
  });
});

describe('the repository', () => {
  it('is tested by the README’s command in continuous integration', () => {
    const run = read('.ci/run');
    assert.match(run, /^npm test$/m);
    assert.ok((statSync(join(packageRoot, '.ci/run')).mode & 0o111) !== 0, 'executable');
  });

  it('has the command that the README runs', () => assert.equal(bin['kiff'], './dist/cli/kiff.js'));

  // Put together here, so that this file is none of those it looks for.
  const hosts = [
    ['registry', 'npmjs', 'org'],
    ['registry', 'yarnpkg', 'com'],
    ['npm', 'pkg', 'github', 'com'],
    ['proxy', 'golang', 'org'],
    ['sum', 'golang', 'org'],
    ['deb', 'debian', 'org'],
    ['pypi', 'org'],
  ].map((labels) => labels.join('.'));
  const hostsIn = (text: string): string[] => hosts.filter((host) => text.includes(host));

  it('names no package registry', () => {
    for (const file of sourceFiles()) assert.deepEqual(hostsIn(read(file)), [], file);
  });

  it('and one would be found', () => {
    assert.equal(hostsIn(`https://${hosts[0]}/kiff`).length, 1);
    for (const file of ['package.json', 'package-lock.json', 'dev/temporal-build/go.sum', 'docker-compose.yml']) {
      assert.ok(sourceFiles().includes(file), file);
    }
  });
});
