/** docs/faults.md names, for every row of the fault table, the tests that show its outcome. They have to be there. */
import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { packageRoot } from '../../dev/root.ts';

/** One line of a table: row, fault, outcome, shown by. */
const ROW = /^\| ([FCB]\d+) \| (.+?) \| (.+?) \| (.+) \|$/gm;
const TEST = /^`(test\/[a-z0-9/-]+\.test\.ts)` (.+)$/;

const numbered = (letter: string, last: number, without: number[] = []): string[] =>
  Array.from({ length: last }, (_, index) => index + 1)
    .filter((number) => !without.includes(number))
    .map((number) => `${letter}${number}`);

/** F20 and F32 were never given. */
const EVERY_ROW = [...numbered('F', 49, [20, 32]), ...numbered('C', 16), ...numbered('B', 24)];

const document = readFileSync(join(packageRoot, 'docs', 'faults.md'), 'utf8');
const rows = [...document.matchAll(ROW)].map(([, row = '', , , shownBy = '']) => ({ row, shownBy }));

/** Whether a file has a test or a suite of this title, written out as it stands in the source. */
function hasTitle(file: string, title: string): boolean {
  if (!existsSync(join(packageRoot, file))) return false;
  const source = readFileSync(join(packageRoot, file), 'utf8');
  const quoted = title.replaceAll(/[.*+?^${}()|[\]\\]/g, String.raw`\$&`);
  return new RegExp(`\\b(?:it|describe)\\(\\s*(['"\`])${quoted}\\1`).test(source);
}

describe('docs/faults.md', () => {
  it('has every row once, in any order', () => {
    assert.deepEqual(rows.map(({ row }) => row).toSorted(), EVERY_ROW.toSorted());
  });

  for (const { row, shownBy } of rows.filter((each) => each.shownBy !== 'open')) {
    it(`${row} is shown by tests that exist`, () => {
      for (const named of shownBy.split('<br>')) {
        const [, file, title] = TEST.exec(named) ?? [];
        assert.ok(file !== undefined && title !== undefined, `not a test's file and title: ${named}`);
        assert.ok(hasTitle(file, title), `${file} has no test of this title: ${title}`);
      }
    });
  }

  it('control: a title that is not there is missed', () => {
    const file = 'test/house/faults.test.ts';
    assert.ok(hasTitle(file, 'has every row once, in any order'));
    assert.ok(!hasTitle(file, 'has every row once'), 'half a title');
    assert.ok(!hasTitle('test/house/nowhere.test.ts', 'has every row once, in any order'));
  });
});
