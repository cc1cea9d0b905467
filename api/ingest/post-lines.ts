/**
 * NDJSON from its first byte to its last answer. Records are stored while the body still arrives, so that a large or slow
 * body holds little memory; the answer begins when all of it is decided
 * (docs/decisions/2026-11-23-streamed-ndjson.md).
 */
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { Response } from 'express';
import { z } from 'zod';
import { Problem, problemShape } from '../http/problems.ts';
import { count } from '../http/shapes.ts';
import { recordAnswer, type RecordAnswer } from './ingest.ts';
import { LineCutter, type Line } from './ndjson.ts';
import { RECORD_PROBLEMS, type RecordDraft } from './record.ts';

const MAX_RECORDS_PER_REQUEST = 1_000;

/**
 * What one request hands to the batcher at a time, in bytes of bodies; as much again may wait for it here. Smaller would
 * cost calls (a thousand ordinary records fit into one), larger only memory.
 */
const UNIT_BYTES = 512 * 1024;

const lineNumber = count.min(1).describe('From 1, blank lines included');

/** One line of the answer. */
export const lineAnswer = z.union([
  recordAnswer.extend({ line: lineNumber }).meta({ id: 'LineAccepted', description: 'It stands in the log.' }),
  z
    .object({
      line: lineNumber,
      id: z.string().optional(),
      status: z.literal('rejected'),
      problem: problemShape(RECORD_PROBLEMS),
    })
    .meta({ id: 'LineRejected', description: 'It is not stored; its neighbours are.' }),
]);

type LineAnswer = z.input<typeof lineAnswer>;

/** A line as it was judged: what can be stored, or why it cannot. */
type JudgedLine = { line: number; draft: RecordDraft | Problem };

/** Stores drafts and answers for each, in order, after COMMIT. */
type Store = (drafts: readonly RecordDraft[]) => Promise<(RecordAnswer | Problem)[]>;

/**
 * Stores the records of a body in the order of its lines. Every line has its own fate: a bad one takes no other with it.
 * No more of the body is asked for while two units wait: one being stored, one behind it.
 * @param read makes a draft of a line's bytes, or throws the Problem that is the line's
 * @returns the answer in pieces: whole lines, in order
 * @throws Problem empty-body, too-many-records; whatever `chunks` and `store` throw. What was stored before stands, and is
 *   a duplicate when it comes again; nothing is stored after
 */
export async function storeLines(
  chunks: AsyncIterable<Uint8Array>,
  store: Store,
  read: (line: Line) => RecordDraft,
): Promise<readonly string[]> {
  const cutter = new LineCutter();
  const answers: string[] = [];
  let lines = 0;
  let unit: JudgedLine[] = [];
  let unitBytes = 0;
  let storing = Promise.resolve();

  /** One unit after the other: two at once could swap places in the log. */
  const handOver = async (): Promise<void> => {
    await storing;
    const full = unit;
    unit = [];
    unitBytes = 0;
    storing = storeUnit(full, store).then((answer) => void answers.push(answer));
    // Looked at by the next `await`, which may be a slow body away.
    storing.catch(() => undefined);
  };

  const take = (line: Line): void => {
    if (++lines > MAX_RECORDS_PER_REQUEST) {
      throw new Problem('too-many-records', `One request may carry ${MAX_RECORDS_PER_REQUEST} records; this has more.`);
    }
    const draft = judge(line, read);
    unit.push({ line: line.line, draft });
    if (!(draft instanceof Problem)) unitBytes += draft.body.length;
  };

  try {
    for await (const chunk of chunks) {
      for (const line of cutter.cut(chunk)) {
        take(line);
        if (unitBytes >= UNIT_BYTES) await handOver();
      }
    }
    for (const line of cutter.end()) take(line);
    if (lines === 0) throw new Problem('empty-body', 'The body holds no record.');
    await handOver();
    await storing;
  } catch (error) {
    // The request is not over while records of it are being stored.
    await storing.catch(() => undefined);
    throw error;
  }
  return answers;
}

function judge(line: Line, read: (line: Line) => RecordDraft): RecordDraft | Problem {
  try {
    return read(line);
  } catch (error) {
    if (error instanceof Problem) return error;
    throw error;
  }
}

async function storeUnit(unit: readonly JudgedLine[], store: Store): Promise<string> {
  const drafts = unit.map(({ draft }) => draft).filter((draft): draft is RecordDraft => !(draft instanceof Problem));
  const answers = drafts.length === 0 ? [] : await store(drafts);
  let next = 0;
  const items = unit.map(({ line, draft }): LineAnswer => {
    if (draft instanceof Problem) return { line, status: 'rejected', problem: draft.document() };
    const answer = answers[next++];
    if (answer === undefined) throw new Error('ingest left a record without an answer');
    if (answer instanceof Problem) return { line, id: draft.id, status: 'rejected', problem: answer.document() };
    return { line, ...answer };
  });
  return items.map((item) => `${JSON.stringify(item)}\n`).join('');
}

/** Writes the pieces no faster than the client takes them. A client that has gone loses its answer and nothing else. */
export async function answerLines(pieces: readonly string[], response: Response): Promise<void> {
  response.type('application/x-ndjson');
  response.set('Content-Length', String(pieces.reduce((sum, piece) => sum + Buffer.byteLength(piece), 0)));
  try {
    await pipeline(Readable.from(pieces), response);
  } catch (error) {
    if (!response.destroyed) throw error;
  }
}
