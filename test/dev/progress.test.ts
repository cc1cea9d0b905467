import assert from 'node:assert/strict';
import { setTimeout as delay } from 'node:timers/promises';
import { part } from '../../dev/progress.ts';

describe('dev/progress', () => {
  it('says one line when a part is ready', () => {
    const lines: string[] = [];
    const progress = part('postgres', (line) => lines.push(line));
    progress.start();
    progress.done('on port 1');
    assert.equal(lines.length, 1);
    assert.match(lines[0] ?? '', /^ {2}postgres +ready \(\d+\.\d s\) {2}on port 1$/);
  });

  it('says what it is doing when that takes long, and stops saying so', async function () {
    this.timeout(15_000);
    const lines: string[] = [];
    const progress = part('temporal', (line) => lines.push(line));
    progress.start('looking');
    progress.update('building');
    while (lines.length === 0) await delay(50);
    assert.match(lines[0] ?? '', /^ {2}temporal +still building \(\d+ s\)$/);
    progress.fail('no Go');
    assert.match(lines[1] ?? '', /^ {2}temporal +FAILED \(\d+\.\d s\) {2}no Go$/);
    assert.equal(lines.length, 2);
  });
});
