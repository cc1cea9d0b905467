/** HTTP/1.1 answers out of a socket's bytes, counted and not parsed: what a load generator can do without costs it little. */

const HEAD_END = Buffer.from('\r\n\r\n');

/**
 * @param answered is told the status of each whole answer
 * @returns takes the bytes as they arrive
 * @throws (that function) Error for an answer without a length
 */
export function createAnswerReader(answered: (status: number) => void): (chunk: Buffer) => void {
  let received: Buffer = Buffer.alloc(0);
  let expected = -1;
  let status = 0;
  return (chunk) => {
    received = received.length === 0 ? chunk : Buffer.concat([received, chunk]);
    if (expected < 0) {
      const end = received.indexOf(HEAD_END);
      if (end < 0) return;
      const head = received.toString('latin1', 0, end);
      status = Number(head.slice(9, 12));
      const length = /\r\ncontent-length: (\d+)/i.exec(head)?.[1];
      if (length === undefined) throw new Error(`an answer without a length: ${head}`);
      expected = end + HEAD_END.length + Number(length);
    }
    if (received.length < expected) return;
    received = received.subarray(expected);
    expected = -1;
    answered(status);
  };
}
