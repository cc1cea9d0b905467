/**
 * Receipts of the conformance kit. Each that is refused differs from a good one in one thing; where that lies under a
 * signature, the signature is made anew, so that the one check is all that fails. Long because it is a list.
 */
import type { Policy, Receipt } from '../protocol/index.ts';
import {
  accountOf,
  addressOf,
  bytesOf,
  checkpointOf,
  logIdOf,
  makePolicy,
  makeReceipt,
  OPERATOR,
  operatorOf,
  ORIGIN,
  PERIOD,
  PERIOD_SECONDS,
  REGISTRY,
  signed,
  treeOf,
  ZERO,
  type Mutable,
  type ReceiptOptions,
} from '../test/protocol/receipt-factory.ts';
import type { MadeCase } from './case.ts';

type Edit = (receipt: Mutable<Receipt>) => void | Promise<void>;

const text = (receipt: unknown): string => `${JSON.stringify(receipt, null, 1)}\n`;
const first = (receipt: Mutable<Receipt>) => receipt.handovers[0]!;
const SIGNERS = ['genesis', 'second', 'third'];

/** Signs the seal anew as what it says it is, and drops the checkpoint where the tree is another one. */
async function reseal(receipt: Mutable<Receipt>, by = SIGNERS[receipt.seal.epoch]!): Promise<void> {
  receipt.seal.signature = await signed(accountOf(by), receipt.registry, 'Seal', receipt.seal);
}

/** Makes an entry the only one of its tree, and seals that. */
async function sealOnly(receipt: Mutable<Receipt>, entry: string): Promise<void> {
  const { root } = treeOf([entry], 0);
  Object.assign(receipt, { entry, leafIndex: 0, inclusion: [], checkpoint: null });
  Object.assign(receipt.seal, { treeSize: 1, root });
  await reseal(receipt);
}

async function accepted(name: string, why: string, options: ReceiptOptions = {}, policy?: Policy): Promise<MadeCase> {
  return { name, kind: 'receipt', text: text(await makeReceipt(options)), fails: [], why, ...(policy && { policy }) };
}

/** A receipt with a defect, written by an edit of a good one. */
async function refused(
  name: string,
  fails: readonly string[],
  why: string,
  edit: Edit,
  options: ReceiptOptions = {},
  policy?: Policy | null,
): Promise<MadeCase> {
  const receipt = structuredClone(await makeReceipt(options)) as Mutable<Receipt>;
  await edit(receipt);
  return { name, kind: 'receipt', text: text(receipt), fails, why, ...(policy !== undefined && { policy }) };
}

/** A receipt whose text has a defect that a value does not show. */
async function misspelt(name: string, why: string, edit: (source: string) => string): Promise<MadeCase> {
  return { name, kind: 'receipt', text: edit(text(await makeReceipt())), fails: ['format'], why };
}

const EXOTIC =
  '{"attribution":{"wallet":"0x00","since":1.50},"record":{"id":"evt_3","kind":"k","entity_id":"","entity_type":"\\u00e9",' +
  '"created_at":"2026-11-23T02:00:00Z","data":[1e400,-0,123456789012345678901234567890,"\\ud83d\\ude00 naïve \u{1F600}"]}}';

async function acceptedCases(): Promise<MadeCase[]> {
  const bounded = makePolicy({ succession: [0, 1, 2].map((epoch) => successionOf(epoch, [0, 5, 9][epoch]!)) });
  return Promise.all([
    accepted('receipt-epoch-0', 'a plain receipt of epoch 0'),
    accepted('receipt-epoch-1', 'one handover', { epoch: 1 }),
    accepted('receipt-epoch-2', 'two handovers', { epoch: 2 }),
    accepted('receipt-epoch-2-no-seal-between', 'two handovers at the same seq', { epoch: 2, acceptSeqs: [5, 5] }),
    accepted('receipt-first-of-epoch', 'the seal right behind a handover has it as prev', { epoch: 1, seq: 6 }),
    accepted('receipt-handover-before-any-seal', 'the log changed hands before its first seal', {
      epoch: 1,
      acceptSeqs: [0],
      seq: 1,
    }),
    accepted('receipt-seal-1', 'the log’s first seal has prev zero', { seq: 1 }),
    accepted('receipt-tree-of-1', 'a tree of one leaf: the path is empty', { size: 1, leafIndex: 0 }),
    accepted('receipt-tree-of-64', 'a complete tree', { size: 64, leafIndex: 63 }),
    accepted('receipt-last-leaf', 'the last leaf of a ragged tree has a short path', { size: 65, leafIndex: 64 }),
    accepted('receipt-first-millisecond', 'received in the period’s first millisecond', {
      receivedAt: iso(PERIOD * 1000),
    }),
    accepted('receipt-last-millisecond', 'received in the period’s last millisecond', {
      receivedAt: iso((PERIOD + PERIOD_SECONDS) * 1000 - 1),
    }),
    accepted('receipt-exotic-body', 'numbers that no machine number holds, escapes, text beyond ASCII', {
      body: EXOTIC,
    }),
    accepted('receipt-succession', 'a policy that knows every signer', { epoch: 2 }, bounded),
    accepted(
      'receipt-succession-earlier-epoch',
      'a policy that knows later signers too',
      { epoch: 0, seq: 4 },
      bounded,
    ),
    refused(
      'receipt-withheld',
      [],
      'nothing is disclosed: withheld, or erased',
      (receipt) => void (receipt.disclosure = null),
    ),
    refused('receipt-no-checkpoint', [], 'no checkpoint', (receipt) => void (receipt.checkpoint = null)),
    refused(
      'receipt-checkpoint-key-unknown',
      [],
      'the policy knows no checkpoint key: the note’s signature is not judged, its text is',
      () => undefined,
      {},
      withoutKeys(),
    ),
    accepted('receipt-compact', 'without white space').then((made) => ({
      ...made,
      text: JSON.stringify(JSON.parse(made.text)),
    })),
    accepted('receipt-other-order', 'members in another order').then((made) => ({
      ...made,
      text: text(Object.fromEntries(Object.entries(JSON.parse(made.text) as object).toReversed())),
    })),
    accepted('receipt-escaped', 'characters escaped that need not be').then((made) => ({
      ...made,
      text: made.text.replace('"format"', '"\\u0066ormat"').replaceAll('kiff.dev/t', 'kiff.dev\\/t'),
    })),
  ]);
}

/** A good receipt, which something else refuses. */
const same: Edit = () => undefined;

const iso = (millis: number): string => new Date(millis).toISOString();

function successionOf(epoch: number, afterSeq: number, signer = SIGNERS[epoch]!) {
  return { epoch, signer: addressOf(accountOf(signer)), afterSeq };
}

function withoutKeys(): Policy {
  const policy = structuredClone(makePolicy()) as Mutable<Policy>;
  delete policy.logs[0]!.checkpointKeys;
  return policy;
}

function formatCases(): Promise<MadeCase[]> {
  return Promise.all([
    misspelt('format-name-twice', 'two members with the same name', (source) =>
      source.replace('"leafIndex"', '"leafIndex": 3,\n "leafIndex"'),
    ),
    misspelt('format-name-twice-escaped', 'the same name twice, once escaped', (source) =>
      source.replace('"leafIndex"', '"leaf\\u0049ndex": 3,\n "leafIndex"'),
    ),
    misspelt('format-name-twice-inside', 'the same name twice in the seal', (source) =>
      source.replace('"seq"', '"seq": 3,\n  "seq"'),
    ),
    misspelt('format-fraction', 'an integer with a fraction', (source) =>
      source.replace('"leafIndex": 3', '"leafIndex": 3.0'),
    ),
    misspelt('format-exponent', 'an integer with an exponent', (source) =>
      source.replace('"leafIndex": 3', '"leafIndex": 3e0'),
    ),
    misspelt('format-too-large', 'an integer beyond 2^53-1', (source) =>
      source.replace(/"blockNumber": \d+/, '"blockNumber": 9007199254740993'),
    ),
    misspelt('format-minus-zero', 'minus zero', (source) => source.replace('"epoch": 0', '"epoch": -0')),
    misspelt('format-deep', 'nested 33 deep', (source) =>
      source.replace('"leafIndex": 3', `"leafIndex": ${'['.repeat(32)}${']'.repeat(32)}`),
    ),
    misspelt('format-lone-surrogate', 'half of a surrogate pair', (source) =>
      source.replace('"checkpoint": "', '"checkpoint": "\\ud800'),
    ),
    misspelt('format-upper-case-hex', 'upper-case hex', (source) =>
      source.replace(/"root": "0x[0-9a-f]*/, (hex) => hex.replace(/[a-f]/, (digit) => digit.toUpperCase())),
    ),
    misspelt('format-short-hash', 'a hash of 31 bytes', (source) =>
      source.replace(/("root": "0x[0-9a-f]*)[0-9a-f]{2}"/, '$1"'),
    ),
    misspelt('format-no-prefix', 'hex without 0x', (source) => source.replace('"root": "0x', '"root": "')),
    misspelt('format-member-missing', 'a member is missing', (source) => source.replace(/ "leafIndex": 3,\n/, '')),
    misspelt('format-member-unknown', 'a member that the format does not have', (source) =>
      source.replace('"leafIndex"', '"note": "",\n "leafIndex"'),
    ),
    misspelt('format-other-version', 'another format', (source) => source.replace('kiff.receipt/1', 'kiff.receipt/2')),
    misspelt('format-level', 'a level that there is not', (source) => source.replace('"final"', '"confirmed"')),
    misspelt('format-origin', 'an origin with a space', (source) =>
      source.replace('"origin": "kiff.dev', '"origin": "kiff dev'),
    ),
    misspelt('format-string-number', 'a number as a string', (source) =>
      source.replace('"leafIndex": 3', '"leafIndex": "3"'),
    ),
    misspelt('format-array', 'an array in place of the object', (source) => `[${source}]`),
  ]);
}

function policyCases(): Promise<MadeCase[]> {
  const other = makePolicy({ origin: 'kiff.dev/t/other' });
  return Promise.all([
    refused('policy-none', ['policy'], 'no policy: anybody can register a log under our origin', same, {}, null),
    refused('policy-other-log', ['policy'], 'the policy does not list the origin', same, {}, other),
    refused('policy-other-genesis', ['policy'], 'another key’s log under our origin', same, {
      signers: ['mallory', 'second'].map(accountOf),
    }),
    refused('policy-other-chain', ['policy'], 'a registry on another chain', same, {
      registry: { ...REGISTRY, chainId: 1 },
    }),
    refused('policy-other-contract', ['policy'], 'another registry', same, {
      registry: { ...REGISTRY, contract: `0x${'ab'.repeat(20)}` },
    }),
    refused('policy-period', ['policy', 'period'], 'a period that is no multiple of P', same, { period: PERIOD + 1 }),
    refused(
      'policy-old-key',
      ['policy'],
      'an old key after its time, by the policy’s succession',
      same,
      { seq: 6 },
      makePolicy({
        succession: [successionOf(1, 5)],
      }),
    ),
    refused(
      'policy-other-successor',
      ['policy'],
      'the policy’s succession names another key',
      same,
      { epoch: 1 },
      makePolicy({
        succession: [successionOf(1, 5, 'third')],
      }),
    ),
    refused(
      'policy-other-seq',
      ['policy'],
      'the policy’s succession names another seq',
      same,
      { epoch: 1 },
      makePolicy({
        succession: [successionOf(1, 4)],
      }),
    ),
    refused(
      'policy-requires-anchor',
      ['anchor'],
      'the policy lets nobody waive the anchor',
      same,
      {},
      makePolicy({ require: ['anchor'] }),
    ),
    refused(
      'policy-requires-commitment',
      ['commitment'],
      'the policy lets nobody withhold the record',
      (receipt) => void (receipt.disclosure = null),
      {},
      makePolicy({ require: ['commitment'] }),
    ),
  ]);
}

const commitment = (name: string, why: string, edit: Edit, options?: ReceiptOptions) =>
  refused(name, ['commitment'], why, edit, options);

function recordCases(): Promise<MadeCase[]> {
  const record = '{"id":"evt_3"}';
  return Promise.all([
    commitment('commitment-body', 'another body', (receipt) => {
      receipt.disclosure!.body = receipt.disclosure!.body.replace('order', 'Order');
    }),
    commitment(
      'commitment-salt',
      'another salt',
      (receipt) => void (receipt.disclosure!.salt = bytesOf('another salt')),
    ),
    commitment('commitment-name-twice', 'a body with a name twice, well committed to', same, {
      body: '{"attribution":null,"record":{"id":"evt_3","a":{"b":1,"b":2}}}',
    }),
    commitment('commitment-space', 'a body with a space, well committed to', same, {
      body: `{"attribution":null, "record":${record}}`,
    }),
    commitment('commitment-order', 'a body with its members swapped, well committed to', same, {
      body: `{"record":${record},"attribution":null}`,
    }),
    commitment('commitment-third-member', 'a body with a third member, well committed to', same, {
      body: `{"attribution":null,"record":${record},"more":1}`,
    }),
    commitment('commitment-no-object', 'a body whose record is an array, well committed to', same, {
      body: '{"attribution":null,"record":[1]}',
    }),
    commitment('commitment-attribution', 'a body whose attribution is a string, well committed to', same, {
      body: `{"attribution":"agent","record":${record}}`,
    }),
    commitment('commitment-deep', 'a record nested 33 deep, well committed to', same, {
      body: `{"attribution":null,"record":{"a":${'['.repeat(32)}${']'.repeat(32)}}}`,
    }),
  ]);
}

function leafCases(): Promise<MadeCase[]> {
  const leaf = (name: string, why: string, edit: (entry: string) => string) =>
    refused(name, ['leaf'], why, async (receipt) => {
      receipt.disclosure = null;
      await sealOnly(receipt, edit(receipt.entry));
    });
  return Promise.all([
    leaf('leaf-space', 'an entry with a space, though it is sealed', (entry) => entry.replace(',"id"', ', "id"')),
    leaf('leaf-order', 'an entry with its members in another order', (entry) =>
      entry.replace(/("id":"[^"]+"),("received_at":"[^"]+")/, '$2,$1'),
    ),
    leaf('leaf-version', 'an entry of another version', (entry) => entry.replace('"v":1', '"v":2')),
    leaf('leaf-id', 'a record id with a slash', (entry) => entry.replace('evt_3', 'evt/3')),
    leaf('leaf-upper-case', 'a commitment in upper case', (entry) =>
      entry.replace(/[0-9a-f]{64}/, (digits) => digits.toUpperCase()),
    ),
    leaf('leaf-member', 'an entry with one member more', (entry) => entry.replace('}', ',"x":1}')),
    leaf('leaf-date', '30 February', (entry) => entry.replace(/\d{4}-\d\d-\d\d/, '2026-02-30')),
    leaf('leaf-microseconds', 'a time without milliseconds', (entry) => entry.replace('.123Z', 'Z')),
    refused('period-before', ['period'], 'received one millisecond before the period', () => undefined, {
      receivedAt: iso(PERIOD * 1000 - 1),
    }),
    refused('period-after', ['period'], 'dated into the hour behind the sealed one', () => undefined, {
      receivedAt: iso((PERIOD + PERIOD_SECONDS) * 1000),
    }),
  ]);
}

function treeCases(): Promise<MadeCase[]> {
  const inclusion = (name: string, why: string, edit: Edit, options?: ReceiptOptions) =>
    refused(name, ['inclusion'], why, edit, options);
  return Promise.all([
    inclusion(
      'inclusion-hash',
      'another hash in the path',
      (receipt) => void (receipt.inclusion[1] = bytesOf('another')),
    ),
    inclusion('inclusion-short', 'a path that is too short', (receipt) => void receipt.inclusion.pop()),
    inclusion(
      'inclusion-long',
      'a path that is too long',
      (receipt) => void receipt.inclusion.push(bytesOf('one more')),
    ),
    inclusion(
      'inclusion-order',
      'a path from the root down',
      (receipt) => void (receipt.inclusion = receipt.inclusion.toReversed()),
    ),
    inclusion('inclusion-index', 'another index', (receipt) => void (receipt.leafIndex = 2)),
    inclusion('inclusion-beyond', 'an index that is not in the tree', (receipt) => void (receipt.leafIndex = 7)),
    inclusion('inclusion-root', 'a sealed root that is another tree’s', async (receipt) => {
      receipt.seal.root = bytesOf('another root');
      receipt.checkpoint = null;
      await reseal(receipt);
    }),
    refused('log-id-other-origin', ['log id'], 'the log id of another origin', async (receipt) => {
      receipt.seal.logId = logIdOf(receipt.genesisSigner, 'kiff.dev/t/other');
      await reseal(receipt);
    }),
  ]);
}

const byte =
  (at: number, value: (old: number) => number): Edit =>
  (receipt) => {
    const bytes = Buffer.from(receipt.seal.signature.slice(2), 'hex');
    bytes[at] = value(bytes[at]!);
    receipt.seal.signature = `0x${bytes.toString('hex')}`;
  };

function signatureCases(): Promise<MadeCase[]> {
  const signature = (name: string, why: string, edit: Edit, options?: ReceiptOptions) =>
    refused(name, ['signature'], why, edit, options);
  const note = (name: string, why: string, edit: (checkpoint: string, receipt: Mutable<Receipt>) => string) =>
    signature(name, why, (receipt) => void (receipt.checkpoint = edit(receipt.checkpoint!, receipt)));
  return Promise.all([
    signature('signature-other-key', 'a seal by another key', (receipt) => reseal(receipt, 'mallory')),
    signature(
      'signature-changed',
      'a signature with one byte changed',
      byte(40, (old) => old ^ 1),
    ),
    signature(
      'signature-v-0',
      'v is 0 or 1',
      byte(64, (old) => old - 27),
    ),
    signature(
      'signature-other-v',
      'the other v',
      byte(64, (old) => 55 - old),
    ),
    signature('signature-high-s', 'the same signature with s in the upper half', (receipt) => {
      const { signature: good } = receipt.seal;
      const n = 0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141n;
      const s = (n - BigInt(`0x${good.slice(66, 130)}`)).toString(16).padStart(64, '0');
      receipt.seal.signature = `0x${good.slice(2, 66)}${s}${good.endsWith('1b') ? '1c' : '1b'}`;
    }),
    signature(
      'signature-zero',
      'r and s are zero',
      (receipt) => void (receipt.seal.signature = `0x${'00'.repeat(64)}1b`),
    ),
    signature('signature-other-chain', 'signed for another chain', async (receipt) => {
      receipt.seal.signature = await signed(accountOf('genesis'), { ...REGISTRY, chainId: 1 }, 'Seal', receipt.seal);
    }),
    signature('signature-other-seal', 'the signature of another seal', async (receipt) => {
      receipt.seal.signature = await signed(accountOf('genesis'), REGISTRY, 'Seal', {
        ...receipt.seal,
        seq: receipt.seal.seq + 1,
      });
    }),
    refused(
      'signature-epoch-0',
      ['signature', 'handovers'],
      'in epoch 0 another key than the genesis signer',
      async (receipt) => {
        receipt.seal.signer = addressOf(accountOf('mallory'));
        await reseal(receipt, 'mallory');
      },
    ),
    note('checkpoint-other-root', 'a checkpoint of another root', (_, { seal }) =>
      checkpointOf(ORIGIN, seal.treeSize, bytesOf('another'), OPERATOR),
    ),
    note('checkpoint-other-size', 'a checkpoint of another size', (_, { seal }) =>
      checkpointOf(ORIGIN, seal.treeSize + 1, seal.root, OPERATOR),
    ),
    note('checkpoint-other-origin', 'a checkpoint of another log', (_, { seal }) =>
      checkpointOf('kiff.dev/t/other', seal.treeSize, seal.root, OPERATOR),
    ),
    note('checkpoint-other-key', 'a checkpoint by a key that the policy does not know', (_, { seal }) =>
      checkpointOf(ORIGIN, seal.treeSize, seal.root, operatorOf('mallory')),
    ),
    note('checkpoint-extension', 'a checkpoint that says more', (checkpoint) =>
      checkpoint.replace('\n\n', '\nmore\n\n'),
    ),
    note(
      'checkpoint-two-signatures',
      'a checkpoint with two signature lines',
      (checkpoint) => checkpoint + (checkpoint.split('\n\n')[1] ?? ''),
    ),
    note(
      'checkpoint-no-signature',
      'a checkpoint without a signature',
      (checkpoint) => `${checkpoint.split('\n\n')[0] ?? ''}\n\n`,
    ),
    note('checkpoint-leading-zero', 'a size with a leading zero', (checkpoint) =>
      checkpoint.replace('\n7\n', '\n07\n'),
    ),
    note('checkpoint-no-line-feed', 'a note that does not end with a line feed', (checkpoint) =>
      checkpoint.slice(0, -1),
    ),
    note('checkpoint-base64', 'base64 that is not canonical', (checkpoint) => checkpoint.replace(/=\n\n/, '\n\n')),
  ]);
}

const handovers = (name: string, why: string, edit: Edit, options: ReceiptOptions = { epoch: 1 }) =>
  refused(name, ['handovers'], why, edit, options);

const rehand = async (receipt: Mutable<Receipt>, edit: (item: ReturnType<typeof first>) => void): Promise<void> => {
  const item = first(receipt);
  edit(item);
  const { handover, accept } = item;
  item.fromSignature = await signed(accountOf('genesis'), REGISTRY, 'Handover', handover);
  item.toSignature = await signed(accountOf('second'), REGISTRY, 'Handover', handover);
  item.acceptSignature = await signed(accountOf('second'), REGISTRY, 'HandoverAccept', accept);
};

function handoverCases(): Promise<MadeCase[]> {
  return Promise.all([
    handovers('handovers-missing', 'a handover is missing', (receipt) => void receipt.handovers.pop(), { epoch: 2 }),
    handovers('handovers-all-missing', 'a new key without its handover', (receipt) => void (receipt.handovers = [])),
    handovers(
      'handovers-one-more',
      'one handover too many',
      (receipt) => void receipt.handovers.push(structuredClone(first(receipt))),
    ),
    handovers(
      'handovers-swapped',
      'handovers in the wrong order',
      (receipt) => void (receipt.handovers = receipt.handovers.toReversed()),
      {
        epoch: 2,
      },
    ),
    handovers('handovers-from-signature', 'the old key’s signature is the new key’s', (receipt) => {
      first(receipt).fromSignature = first(receipt).toSignature;
    }),
    handovers('handovers-to-signature', 'the new key’s signature is the old key’s', (receipt) => {
      first(receipt).toSignature = first(receipt).fromSignature;
    }),
    handovers('handovers-accept-signature', 'the acceptance is signed by the old key', async (receipt) => {
      const item = first(receipt);
      item.acceptSignature = await signed(accountOf('genesis'), REGISTRY, 'HandoverAccept', item.accept);
    }),
    handovers('handovers-other-acceptance', 'the acceptance of another handover', (receipt) =>
      rehand(receipt, ({ accept }) => void (accept.handoverHash = bytesOf('another handover'))),
    ),
    handovers('handovers-custody', 'a custody that there is not', (receipt) =>
      rehand(receipt, ({ handover }) => void (handover.custody = 4)),
    ),
    handovers('handovers-time', 'a handover that expires before it may begin', (receipt) =>
      rehand(receipt, ({ handover }) => void (handover.notBefore = handover.expiresAt)),
    ),
    handovers('handovers-other-log', 'a handover of another log', (receipt) =>
      rehand(receipt, ({ handover }) => void (handover.logId = bytesOf('another log'))),
    ),
    handovers('handovers-seq-falls', 'an acceptance at a seq before the last one’s', () => undefined, {
      epoch: 2,
      acceptSeqs: [5, 4],
      seq: 12,
    }),
    handovers(
      'handovers-head',
      'two acceptances at one seq, the second over another head',
      async (receipt) => {
        const item = receipt.handovers[1]!;
        item.accept.head = bytesOf('another head');
        item.acceptSignature = await signed(accountOf('third'), REGISTRY, 'HandoverAccept', item.accept);
      },
      { epoch: 2, acceptSeqs: [5, 5] },
    ),
    handovers('handovers-too-early', 'a new key’s seal before its time', () => undefined, { epoch: 1, seq: 5 }),
    handovers('handovers-old-key', 'an old key under the new epoch', async (receipt) => {
      receipt.seal.signer = addressOf(accountOf('genesis'));
      await reseal(receipt, 'genesis');
    }),
    handovers('handovers-first-seal', 'the first seal behind a handover does not follow it', () => undefined, {
      epoch: 1,
      seq: 6,
      prev: bytesOf('another head'),
    }),
    handovers('handovers-seal-1', 'the log’s first seal follows something', () => undefined, {
      seq: 1,
      prev: bytesOf('something'),
    }),
    handovers(
      'handovers-zero-head',
      'the first acceptance of all names a head',
      async (receipt) => {
        const item = first(receipt);
        item.accept.head = bytesOf('something');
        item.acceptSignature = await signed(accountOf('second'), REGISTRY, 'HandoverAccept', item.accept);
      },
      { epoch: 1, acceptSeqs: [0], seq: 3, prev: ZERO.replace('0x00', '0x01') as `0x${string}` },
    ),
  ]);
}

export async function receiptCases(): Promise<MadeCase[]> {
  const groups = [
    acceptedCases,
    formatCases,
    policyCases,
    recordCases,
    leafCases,
    treeCases,
    signatureCases,
    handoverCases,
  ];
  const made: MadeCase[] = [];
  for (const group of groups) made.push(...(await group()));
  return made;
}
