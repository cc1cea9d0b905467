/**
 * One-dimensional arrays as parameters in PostgreSQL's binary form (array_recv in src/backend/utils/adt/arrayfuncs.c): the
 * pg driver sends a Buffer as it is. Its own text form writes every byte as two hex digits, here and again in the server's
 * parser: for a full batch that was a third of what this process spends on storing it (docs/performance.md).
 */

/** Object ids of element types (src/include/catalog/pg_type.dat). */
const OID = { bytea: 17, int4: 23, text: 25 } as const;

/** int32 each: dimensions, whether there are nulls, element type; per dimension its length and lower bound. */
const HEADER = 20;

function header(array: Buffer, type: keyof typeof OID, length: number): void {
  array.writeInt32BE(1, 0);
  array.writeInt32BE(0, 4);
  array.writeInt32BE(OID[type], 8);
  array.writeInt32BE(length, 12);
  array.writeInt32BE(1, 16);
}

/** `bytea[]` */
export function byteaArray(elements: readonly Uint8Array[]): Buffer {
  const array = Buffer.allocUnsafe(elements.reduce((size, element) => size + 4 + element.length, HEADER));
  header(array, 'bytea', elements.length);
  let at = HEADER;
  for (const element of elements) {
    at = array.writeInt32BE(element.length, at);
    array.set(element, at);
    at += element.length;
  }
  return array;
}

/** `text[]`; in UTF-8, as the connection is. */
export function textArray(elements: readonly string[]): Buffer {
  const lengths = elements.map((element) => Buffer.byteLength(element));
  const array = Buffer.allocUnsafe(lengths.reduce((size, length) => size + 4 + length, HEADER));
  header(array, 'text', elements.length);
  let at = HEADER;
  for (const [index, element] of elements.entries()) {
    at = array.writeInt32BE(lengths[index]!, at);
    at += array.write(element, at);
  }
  return array;
}

/** `integer[]` */
export function integerArray(elements: readonly number[]): Buffer {
  const array = Buffer.allocUnsafe(HEADER + 8 * elements.length);
  header(array, 'int4', elements.length);
  let at = HEADER;
  for (const element of elements) at = array.writeInt32BE(element, array.writeInt32BE(4, at));
  return array;
}
