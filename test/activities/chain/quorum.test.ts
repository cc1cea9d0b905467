/** The policy alone: what several answers come to. */
import assert from 'node:assert/strict';
import { judgeAnswers, newestCommonBlock, quorumOf } from '../../../activities/chain/quorum.ts';

const said = (...values: (string | undefined)[]) =>
  values.map((value) => (value === undefined ? undefined : { value: { hash: value } }));

describe('a quorum of RPC endpoints', () => {
  it('is a majority: one alone, both of two, two of three', () => {
    assert.deepEqual([1, 2, 3, 4, 5].map(quorumOf), [1, 2, 2, 3, 3]);
  });

  it('agrees when all that answered said the same and a quorum answered', () => {
    for (const answers of [said('a'), said('a', 'a'), said('a', 'a', 'a'), said('a', undefined, 'a')]) {
      assert.deepEqual(judgeAnswers(answers), { kind: 'agreed', answer: { hash: 'a' } });
    }
    for (const answers of [said(undefined), said('a', undefined), said('a', undefined, undefined)]) {
      assert.equal(judgeAnswers(answers).kind, 'too-few');
    }
  });

  it('never outvotes the one that says something else, however many say the same', () => {
    const verdict = judgeAnswers(said('a', 'a', 'b', 'a', undefined));
    assert.deepEqual(verdict, { kind: 'disagreed', groups: [[0, 1, 3], [2]] });
  });

  it('reads at the newest block that a quorum has: one endpoint alone moves it neither up nor down', () => {
    assert.equal(newestCommonBlock([7n]), 7n);
    assert.equal(newestCommonBlock([7n, 9n]), 7n);
    assert.equal(newestCommonBlock([7n, 9n, 8n]), 8n);
    assert.equal(newestCommonBlock([10n ** 18n, 9n, 8n]), 9n, 'an invented height');
    assert.equal(newestCommonBlock([0n, 9n, 8n]), 8n, 'one far behind');
    assert.equal(newestCommonBlock([undefined, 9n, 8n]), 8n);
    assert.equal(newestCommonBlock([undefined, 9n, undefined]), undefined);
  });
});
