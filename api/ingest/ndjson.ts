import { RecordBytes, type RecordPiece } from './record-bytes.ts';

const LINE_FEED = 0x0a;

export interface Line extends RecordPiece {
  /** 1-based, blank lines counted. */
  line: number;
}

/**
 * Cuts an NDJSON body into the lines that hold more than white space, as bytes and as they arrive: what a line means is
 * judged line by line, so bad bytes in one spoil no other. A final line feed is not needed; a carriage return before it is
 * white space. At most one record is kept here, however long a line is.
 */
export class LineCutter {
  readonly #record = new RecordBytes();
  #line = 1;

  /** The lines that end in this chunk. All of them are to be taken before the next chunk is given. */
  *cut(chunk: Uint8Array): Generator<Line> {
    let start = 0;
    for (;;) {
      const end = chunk.indexOf(LINE_FEED, start);
      if (end === -1) break;
      this.#record.add(chunk.subarray(start, end));
      yield* this.end();
      this.#line++;
      start = end + 1;
    }
    this.#record.add(chunk.subarray(start));
  }

  /** What follows the last line feed. */
  *end(): Generator<Line> {
    const piece = this.#record.take();
    if (piece.length > 0) yield { line: this.#line, ...piece };
  }
}
