import assert from 'node:assert/strict';
import { renderReport } from '../../cli/report.ts';
import type { Check, Verification } from '../../protocol/index.ts';

function verification(...checks: Check[]): Verification {
  return { ok: false, checks, proved: [], notProved: [], rpcUnreachable: false, anchoredAt: null };
}

describe('cli/report', () => {
  const failed: Check = { name: 'leaf', status: 'failed', detail: 'no entry' };

  it('colours only where it is told to', () => {
    assert(renderReport(verification(failed), true).startsWith('\u001b[31m✗\u001b[0m leaf        FAILED: no entry\n'));
    assert(renderReport(verification(failed), false).startsWith('✗ leaf        FAILED: no entry\n'));
  });

  it('lets no control character of a receipt or a node through', () => {
    const hostile = '\u001b[2J\u009b31m\r\u202e\u2028end';
    const report = renderReport(
      { ...verification({ ...failed, detail: hostile }), proved: [hostile], notProved: [hostile] },
      false,
    );
    assert.equal(report.split('?[2J?31m???end').length, 4);
    for (const character of '\u001b\u009b\r\u202e\u2028') assert(!report.includes(character));
  });
});
