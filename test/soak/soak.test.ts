import assert from 'node:assert/strict';
import type { Hex } from 'viem';
import { soak } from './soak.ts';
import { countLog } from './tally.ts';

/** The seed that repeats the weather. */
const seed = Number(process.env['SOAK_SEED'] ?? 20_261_124);

const row = (seq: number, level = 'final', place = `${seq}`) => ({ seq, level, place });

describe(`the wallet in any weather (seed ${seed})`, () => {
  it('anchors 1,000 seals of 50 logs: each once, in order, none lost, none double', async function () {
    this.timeout(300_000);
    const said: string[] = [];
    const result = await soak({
      seed,
      logs: 50,
      seals: 1_000,
      stormSeconds: 30,
      patienceSeconds: 150,
      say: (line) => said.push(line),
    });
    const { seals, lost, double, outOfOrder, misplaced, kills, happened } = result;
    assert.deepEqual(
      { seals, lost, double, outOfOrder, misplaced },
      { seals: 1_000, lost: 0, double: 0, outOfOrder: 0, misplaced: 0 },
      said.join('\n'),
    );
    assert.ok(kills > 0 && (happened['reorg'] ?? 0) > 0, 'the weather was too fair');
  });

  describe('the tally', () => {
    const signed: Hex[] = ['0xaa', '0xbb', '0xcc'];
    const event = (seq: number, sealHash = signed[seq - 1]) => ({ seq, sealHash: sealHash ?? '0x', place: `${seq}` });
    const rows = [row(1), row(2), row(3)];
    const good = { seals: 3, lost: 0, double: 0, outOfOrder: 0, misplaced: 0 };

    it('counts nothing where everything stands once and in order', () => {
      assert.deepEqual(countLog(signed, { events: [event(1), event(2), event(3)], rows }), good);
    });

    it('counts what is lost, double, out of order and not where our table says (control)', () => {
      const count = (events: ReturnType<typeof event>[], table = rows) => countLog(signed, { events, rows: table });
      assert.deepEqual(count([event(1), event(2)]), { ...good, lost: 1, misplaced: 1 });
      assert.equal(count([event(1), event(1), event(2), event(3)]).double, 1);
      assert.deepEqual(count([event(1), event(2, '0xee'), event(3)]), { ...good, lost: 1, double: 1, misplaced: 1 });
      assert.equal(count([event(2), event(1), event(3)]).outOfOrder, 3);
      const all = [event(1), event(2), event(3)];
      assert.equal(count(all, [row(1), row(2, 'safe'), row(3)]).misplaced, 1);
      assert.equal(count(all, [row(1), row(2, 'final', '9'), row(3)]).misplaced, 1);
      assert.equal(count(all, [row(1), row(2)]).misplaced, 1);
    });
  });
});
