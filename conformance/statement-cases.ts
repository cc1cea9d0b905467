/** Promises and end statements of the conformance kit. */
import { createHash, sign } from 'node:crypto';
import {
  endText,
  leafHash,
  promiseBytes,
  signedNote,
  toHex,
  type Hex,
  type Policy,
  type Receipt,
  type SealPromise,
} from '../protocol/index.ts';
import type { MadeLog } from '../test/protocol/bundle-factory.ts';
import {
  accountOf,
  addressOf,
  bytesOf,
  logIdOf,
  makePolicy,
  makeReceipt,
  OPERATOR,
  operatorOf,
  ORIGIN,
  PERIOD,
  PERIOD_SECONDS,
  structHash,
  ZERO,
} from '../test/protocol/receipt-factory.ts';
import type { MadeCase } from './case.ts';

const SUCCESSOR = `${ORIGIN}/2`;
const PROMISES = operatorOf('promises');

interface End {
  readonly log: Pick<MadeLog, 'origin' | 'logId' | 'hours'>;
  readonly seq: number;
  readonly sealHash?: Hex;
  /** Whose key signs. */
  readonly by?: string;
}

/** The end of a log behind one of its seals. */
export function endNote({ log, seq, sealHash, by }: End): string {
  const { seal } = log.hours[seq - 1]!.seal;
  const last = { seq, sealHash: sealHash ?? structHash('Seal', seal), treeSize: seal.treeSize, root: seal.root };
  return noteOf(
    endText({ origin: log.origin, logId: log.logId, last, reason: 'signer-lost', successor: SUCCESSOR }),
    log.origin,
    by,
  );
}

function noteOf(text: string, origin: string, by?: string): string {
  const key = by === undefined ? OPERATOR : operatorOf(by);
  return signedNote(text, origin, key.publicKey, toHex(sign(null, Buffer.from(text), key.privateKey)));
}

function promiseCases(receipt: Receipt): MadeCase[] {
  const policy = makePolicy({ promiseKeys: [PROMISES.publicKey] });
  const terms = {
    origin: ORIGIN,
    leafIndex: receipt.leafIndex,
    leafHash: leafHash(receipt.entry),
    sealBy: PERIOD + 2 * PERIOD_SECONDS,
  };
  const promise = (changes: Partial<SealPromise> = {}, key = PROMISES): SealPromise => {
    const made = { ...terms, ...changes };
    return { ...made, signature: toHex(sign(null, promiseBytes(made), key.privateKey)) };
  };
  const of = (
    name: string,
    why: string,
    fails: readonly string[],
    value: unknown,
    receipts: readonly string[] = [],
  ): MadeCase => ({
    name: `promise-${name}`,
    kind: 'promise',
    text: `${JSON.stringify(value)}\n`,
    policy,
    receipts,
    fails,
    why,
  });
  return [
    of('alone', 'a promise without its receipt', [], promise()),
    of('answer', 'the answer that carries it', [], { id: 'evt_3', status: 'accepted', promise: promise() }),
    of('kept', 'a promise with its receipt', [], promise(), ['receipt-epoch-0']),
    of('other-key', 'a promise by another key', ['signature'], promise({}, operatorOf('mallory'))),
    of('changed', 'a promise that was changed', ['signature'], { ...promise(), sealBy: terms.sealBy + 1 }),
    of(
      'other-log',
      'a promise of a log that the policy does not list',
      ['policy', 'signature'],
      promise({ origin: 'kiff.dev/t/other' }),
    ),
    of('other-leaf', 'the log has another leaf there', ['leaf'], promise({ leafHash: bytesOf('another') }), [
      'receipt-epoch-0',
    ]),
    of('other-index', 'the receipt is of another index', ['leaf'], promise({ leafIndex: 4 }), ['receipt-epoch-0']),
    of(
      'late',
      'the seal’s period lasted until after the time promised',
      ['kept'],
      promise({ sealBy: PERIOD + PERIOD_SECONDS - 1 }),
      ['receipt-epoch-0'],
    ),
    of('bad-receipt', 'the receipt does not hold', ['receipt'], promise(), ['inclusion-hash']),
    of('member-missing', 'a member is missing', ['format'], { ...promise(), sealBy: undefined }),
    of('upper-case', 'hex in upper case', ['format'], {
      ...promise(),
      leafHash: terms.leafHash.toUpperCase().replace('0X', '0x'),
    }),
  ];
}

async function endCases(receipt: Receipt, later: Receipt): Promise<MadeCase[]> {
  const genesis = addressOf(accountOf('genesis'));
  const logOf = (made: Receipt) => ({
    origin: ORIGIN,
    logId: made.seal.logId,
    last: {
      seq: made.seal.seq,
      sealHash: structHash('Seal', made.seal),
      treeSize: made.seal.treeSize,
      root: made.seal.root,
    },
    reason: 'signer-lost' as const,
    successor: SUCCESSOR,
  });
  const statement = logOf(receipt);
  const note = noteOf(endText(statement), ORIGIN);
  const both: Policy = {
    ...makePolicy(),
    logs: [ORIGIN, SUCCESSOR].map((origin) => ({
      origin,
      genesisSigner: genesis,
      checkpointKeys: [OPERATOR.publicKey],
    })),
  };
  const of = (
    name: string,
    why: string,
    fails: readonly string[],
    text: string,
    receipts: readonly string[] = [],
  ): MadeCase => ({
    name: `end-${name}`,
    kind: 'end',
    text,
    policy: both,
    receipts,
    fails,
    why,
  });
  const empty = `0x${createHash('sha256').digest('hex')}` as const;
  const noSeal = { seq: 0, sealHash: ZERO, treeSize: 0, root: empty };
  return [
    of('alone', 'the end of a log', [], note),
    of(
      'no-seal',
      'the end of a log that never had a seal',
      [],
      noteOf(endText({ ...statement, last: noSeal }), ORIGIN),
    ),
    of('before', 'a receipt of its last good seal', [], note, ['receipt-epoch-0']),
    of('discontinuity', 'receipts of the log and of its successor', [], note, [
      'receipt-epoch-0',
      'end-receipt-of-successor',
    ]),
    of('other-key', 'signed by another key', ['signature'], noteOf(endText(statement), ORIGIN, 'mallory')),
    of('changed', 'a reason that was changed', ['signature'], note.replace('signer-lost', 'clock-ahead')),
    of(
      'other-log-id',
      'another key’s log under our origin',
      ['policy', 'signature'],
      noteOf(endText({ ...statement, logId: logIdOf(addressOf(accountOf('mallory')), ORIGIN) }), ORIGIN),
    ),
    of('beyond', 'a receipt of a later seal', ['last seal'], noteOf(endText(logOf(later)), ORIGIN), [
      'receipt-epoch-0',
    ]),
    of(
      'other-last',
      'a receipt of another statement with the last seq',
      ['last seal'],
      noteOf(endText({ ...statement, last: { ...statement.last, sealHash: bytesOf('another') } }), ORIGIN),
      ['receipt-epoch-0'],
    ),
    of('bad-receipt', 'a receipt that does not hold', ['receipts'], note, ['inclusion-hash']),
    of(
      'reason',
      'a reason that there is not',
      ['format'],
      noteOf(endText(statement).replace('signer-lost', 'tired'), ORIGIN),
    ),
    of(
      'leading-zero',
      'a seq with a leading zero',
      ['format'],
      noteOf(endText(statement).replace('\nseq ', '\nseq 0'), ORIGIN),
    ),
    of(
      'itself',
      'a log that succeeds itself',
      ['format'],
      noteOf(endText(statement).replace(/successor .*/, `successor ${ORIGIN}`), ORIGIN),
    ),
    of('line', 'one line more', ['format'], noteOf(`${endText(statement)}note x\n`, ORIGIN)),
    {
      name: 'end-receipt-of-successor',
      kind: 'receipt',
      text: `${JSON.stringify(await makeReceipt({ origin: SUCCESSOR, seq: 1 }))}\n`,
      policy: both,
      fails: [],
      why: 'a receipt of the log behind one that ended',
    },
  ];
}

export async function statementCases(): Promise<MadeCase[]> {
  // The same as the cases receipt-epoch-0, whose seal is the third, and one of an earlier seal.
  const receipt = await makeReceipt();
  const earlier = await makeReceipt({ seq: receipt.seal.seq - 1 });
  return [...promiseCases(receipt), ...(await endCases(receipt, earlier))];
}
