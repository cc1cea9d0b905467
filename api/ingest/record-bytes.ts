/** The bytes of one record, put together from pieces as they arrive: never more of them than a record may have. */
import type { AttributionOf } from './attributions.ts';
import { isSpace, MAX_RECORD_BYTES, readRecord, recordTooLarge, type RecordDraft } from './record.ts';

/** A record's bytes without the white space around them. */
export interface RecordPiece {
  bytes: Uint8Array;
  /** Larger than `bytes.length` when it is over the limit: what lies past the limit is counted, not kept. */
  length: number;
}

const NOTHING = new Uint8Array(0);

export class RecordBytes {
  #kept: Uint8Array = NOTHING;
  /** Whether `#kept` is ours to write to; the first piece is only pointed at. */
  #owned = false;
  /** Bytes in `#kept` that count. */
  #size = 0;
  /** Bytes since the first one that is not white space, and those of them up to the last one that is not. */
  #position = 0;
  #length = 0;

  /** The piece must stay as it is until the record is taken. */
  add(piece: Uint8Array): void {
    let start = 0;
    if (this.#position === 0) while (start < piece.length && isSpace(piece[start])) start++;
    if (start === piece.length) return;
    let end = piece.length;
    while (end > start && isSpace(piece[end - 1])) end--;
    if (end > start) this.#length = this.#position + end - start;
    // White space at the end stays for now: the next piece may show that it is inside the record.
    this.#keep(piece.subarray(start, start + MAX_RECORD_BYTES - this.#size));
    this.#position += piece.length - start;
  }

  /** What was collected, and begins anew. An empty record is one of white space only. */
  take(): RecordPiece {
    const length = this.#length;
    const bytes = this.#kept.subarray(0, Math.min(length, this.#size));
    this.#kept = NOTHING;
    this.#owned = false;
    this.#size = 0;
    this.#position = 0;
    this.#length = 0;
    return { bytes, length };
  }

  #keep(piece: Uint8Array): void {
    if (this.#size === 0) {
      this.#kept = piece;
    } else if (piece.length > 0) {
      const size = this.#size + piece.length;
      if (!this.#owned || this.#kept.length < size) {
        const larger = Buffer.allocUnsafe(Math.min(MAX_RECORD_BYTES, Math.max(2 * this.#size, size)));
        larger.set(this.#kept.subarray(0, this.#size));
        this.#kept = larger;
        this.#owned = true;
      }
      this.#kept.set(piece, this.#size);
    }
    this.#size += piece.length;
  }
}

/**
 * Reads a record that was put together here.
 * @param now Unix milliseconds
 * @param attributionOf as of readRecord
 * @throws Problem as readRecord does
 */
export function readPiece({ bytes, length }: RecordPiece, now: number, attributionOf?: AttributionOf): RecordDraft {
  if (length > bytes.length) throw recordTooLarge(length);
  return readRecord(bytes, now, attributionOf);
}
