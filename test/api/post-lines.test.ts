import assert from 'node:assert/strict';
import { setImmediate as nextTurn } from 'node:timers/promises';
import type { RecordAnswer } from '../../api/ingest/ingest.ts';
import { storeLines } from '../../api/ingest/post-lines.ts';
import { readPiece, type RecordPiece } from '../../api/ingest/record-bytes.ts';
import { Problem } from '../../api/http/problems.ts';
import type { RecordDraft } from '../../api/ingest/record.ts';
import { recordText } from './ingest-api.ts';

/** About 32 KiB, so sixteen make a unit. */
const line = (id: number | string): string => `${recordText(String(id), { pad: 'x'.repeat(32 * 1024) })}\n`;

/** A store that answers when it is told to, and says what it was given. */
function heldStore() {
  const calls: { ids: string[]; finish(error?: Error): void }[] = [];
  let size = 0;
  const answer = ({ id }: RecordDraft) => ({ id, status: 'accepted', leafIndex: size++ }) as RecordAnswer;
  const store = (drafts: readonly RecordDraft[]): Promise<RecordAnswer[]> =>
    new Promise((resolve, reject) => {
      calls.push({
        ids: drafts.map(({ id }) => id),
        finish: (error) => (error ? reject(error) : resolve(drafts.map(answer))),
      });
    });
  return { calls, store };
}

/** A body of as many lines as are asked for; `given` counts them. */
function body(lines: number, text: (id: number) => string = line) {
  const source = { given: 0, chunks };
  async function* chunks(): AsyncGenerator<Uint8Array> {
    while (source.given < lines) yield Buffer.from(text(source.given++));
  }
  return source;
}

const settle = async (): Promise<void> => {
  for (let turn = 0; turn < 20; turn++) await nextTurn();
};

const read = (piece: RecordPiece) => readPiece(piece, Date.now());

describe('storing the lines of a body', () => {
  it('begins while the body arrives, one unit after the other, and asks for no more than a second one', async () => {
    const { calls, store } = heldStore();
    const source = body(60);
    const answers = storeLines(source.chunks(), store, read);
    await settle();
    assert.equal(calls.length, 1, 'the second unit waits for the first: order is kept');
    assert.equal(source.given, 32, 'back-pressure: two units of sixteen lines');
    for (let done = 0; done < calls.length; done++) {
      calls[done]!.finish();
      await settle();
    }
    const items = (await answers)
      .join('')
      .trimEnd()
      .split('\n')
      .map((text) => JSON.parse(text) as { line: number; id: string; leafIndex: number });
    assert.deepEqual(
      items.map(({ line: number, id, leafIndex }) => [number, id, leafIndex]),
      Array.from({ length: 60 }, (_, at) => [at + 1, String(at), at]),
    );
    assert.deepEqual(
      calls.map(({ ids }) => ids.length),
      [16, 16, 16, 12],
    );
  });

  it('hands a thousand ordinary records over together', async () => {
    const { calls, store } = heldStore();
    const answers = storeLines(body(1_000, (id) => `${recordText(String(id))}\n`).chunks(), store, read);
    await settle();
    while (calls.length === 0) await nextTurn();
    calls[0]!.finish();
    await answers;
    assert.equal(calls.length, 1);
  });

  it('ends at the first record past the limit: what was stored stands, nothing is stored after', async () => {
    const { calls, store } = heldStore();
    const source = body(2_000, (id) => (id < 20 ? line(id) : '{}\n'));
    const answers = storeLines(source.chunks(), store, read);
    await settle();
    let over = false;
    const refused = assert.rejects(answers, { slug: 'too-many-records' }).then(() => (over = true));
    await settle();
    assert.equal(source.given, 1_001);
    assert.equal(over, false, 'not over while records of it are being stored');
    calls[0]!.finish();
    await refused;
    assert.equal(calls.length, 1);
  });

  it('stops at a unit that could not be stored, and says why', async () => {
    const { calls, store } = heldStore();
    const answers = storeLines(body(100).chunks(), store, read);
    await settle();
    calls[0]!.finish(new Problem('unavailable', 'away'));
    await assert.rejects(answers, { slug: 'unavailable' });
    assert.equal(calls.length, 1);
  });

  it('a body that breaks off after a store failed leaves no rejection behind', async () => {
    const { calls, store } = heldStore();
    async function* broken(): AsyncGenerator<Uint8Array> {
      yield* body(20).chunks();
      calls[0]!.finish(new Problem('unavailable', 'away'));
      await settle();
      throw new Problem('bad-request', 'cut off');
    }
    await assert.rejects(storeLines(broken(), store, read), { slug: 'bad-request' });
  });

  it('asks the store for nothing when no line is good', async () => {
    const { calls, store } = heldStore();
    const answers = await storeLines(body(3, () => 'x\n').chunks(), store, read);
    assert.equal(answers.join('').split('malformed-json').length - 1, 3);
    assert.equal(calls.length, 0);
  });
});
