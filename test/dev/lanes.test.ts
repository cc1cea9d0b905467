import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { lastLine, runLanes, type Lane } from '../../dev/lanes.ts';

const suite = (name: string, tests: string): string =>
  `describe('${name}', () => { ${tests} }); describe('${name} again', () => { ${tests} });`;
const passes = "it('passes', (done) => setTimeout(done, 50));";

async function run(...lanes: Lane[]) {
  let written = '';
  return { sum: await runLanes(lanes, (text) => (written += text)), written };
}

describe('dev/lanes', function () {
  this.timeout(60_000);
  let directory: string;
  before(() => {
    directory = mkdtempSync(join(tmpdir(), 'kiff-cloud-lanes-'));
  });
  after(() => rmSync(directory, { recursive: true }));

  function lane(name: string, source: string): Lane {
    const file = join(directory, `${name}.cjs`);
    writeFileSync(file, source);
    return { name, args: [file] };
  }

  it('adds up what two lanes count, and keeps the lines of a suite together', async () => {
    const { sum, written } = await run(
      lane('one', suite('one', passes.repeat(5))),
      lane(
        'two',
        suite(
          'two',
          `${passes.repeat(5)} it.skip('is left out', () => {}); it('fails', () => { throw new Error('so'); });`,
        ),
      ),
    );
    assert.deepEqual(sum, { passed: 20, failed: 2, skipped: 2 });
    assert.equal(lastLine(sum), '20 passed, 2 failed, 2 skipped');
    assert.match(written, / {2}one\n(.*passes.*\n){5}/);
    assert.match(written, / {2}two again\n(.*passes.*\n){5}/);
    assert.match(written, /Error: so/);
    assert.doesNotMatch(written, /\d+ passed/, 'only the sum is the last line');
  });

  it('a lane that dies is a failure, and is named', async () => {
    const { sum, written } = await run(
      lane('whole', suite('whole', passes)),
      lane('dead', suite('dead', "it('dies', () => process.kill(process.pid, 'SIGKILL'));")),
    );
    assert.deepEqual(sum, { passed: 2, failed: 1, skipped: 0 });
    assert.match(written, /dead: ended with SIGKILL before it had counted its tests/);
  });
});
