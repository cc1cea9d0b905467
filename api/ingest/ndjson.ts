const LINE_FEED = 0x0a;

export interface Line {
  /** 1-based, blank lines counted. */
  line: number;
  bytes: Uint8Array;
}

/**
 * The lines of an NDJSON body that hold more than white space, as bytes: what a line means is judged line by line, so bad
 * bytes in one spoil no other. A final line feed is not needed; a carriage return before it is white space.
 */
export function* ndjsonLines(body: Uint8Array): Generator<Line> {
  let start = 0;
  for (let line = 1; start < body.length; line++) {
    const found = body.indexOf(LINE_FEED, start);
    const end = found === -1 ? body.length : found;
    const bytes = body.subarray(start, end);
    if (bytes.some((byte) => byte !== 0x20 && byte !== 0x09 && byte !== 0x0d)) yield { line, bytes };
    start = end + 1;
  }
}
