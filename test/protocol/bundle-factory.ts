/** Whole logs for tests, made as receipts are (receipt-factory.ts): signed and hashed by other people's code, from fixed keys. */
import { createHmac } from 'node:crypto';
import type { PrivateKeyAccount } from 'viem';
import type {
  AnchoredHandover,
  BundleEntry,
  BundleHeader,
  BundleLine,
  BundleSeal,
  Hex,
  Registry,
} from '../../protocol/index.ts';
import {
  accountOf,
  addressOf,
  bytesOf,
  checkpointOf,
  logIdOf,
  makeHandover,
  OPERATOR,
  ORIGIN,
  PERIOD,
  PERIOD_SECONDS,
  REGISTRY,
  signed,
  structHash,
  treeOf,
  ZERO,
} from './receipt-factory.ts';

/** One hour: its entries, and whether the signer changes behind its seal. */
export interface Hour {
  readonly entries: number;
  readonly handover?: boolean;
}

export interface LogOptions {
  readonly hours?: readonly Hour[];
  readonly origin?: string;
  readonly registry?: Registry;
  /** Indexes of leaves whose records were erased, or withheld. */
  readonly erased?: readonly number[];
}

export interface MadeHour {
  readonly seal: BundleSeal;
  readonly entries: readonly BundleEntry[];
  /** Behind the seal. */
  readonly handover: AnchoredHandover | undefined;
}

/** A log with everything that a bundle of it is made of. */
export interface MadeLog {
  readonly origin: string;
  readonly registry: Registry;
  readonly genesisSigner: Hex;
  readonly logId: Hex;
  readonly hours: readonly MadeHour[];
}

/** Signers by epoch. */
export const SIGNERS: readonly PrivateKeyAccount[] = ['genesis', 'second', 'third'].map(accountOf);

const positionOf = (name: string, blockNumber: number, logIndex = 0) => ({
  txHash: bytesOf(`tx ${name}`),
  blockNumber,
  blockHash: bytesOf(`block ${blockNumber}`),
  logIndex,
});

/** Entries with their records, of the hour that begins at `period`. */
export function makeEntry(leaf: number, receivedAt: string, erased = false): BundleEntry {
  const salt = bytesOf(`salt ${leaf}`);
  const record = `{"id":"evt_${leaf}","kind":"action_executed","entity_id":"o-${leaf}","entity_type":"order","created_at":"${receivedAt}"}`;
  const body = `{"attribution":null,"record":${record}}`;
  const commitment = createHmac('sha256', Buffer.from(salt.slice(2), 'hex'))
    .update(body)
    .digest('hex');
  const entry = `{"v":1,"id":"evt_${leaf}","received_at":"${receivedAt}","key":"k0123456789abcde","commitment":"${commitment}"}`;
  return { entry, disclosure: erased ? null : { salt, body } };
}

/** Makes a log. Seal n is anchored in block 1000 + 10 n; block b has the time PERIOD + b, as scripted-chain.ts has it. */
export async function makeLog(options: LogOptions = {}): Promise<MadeLog> {
  const { origin = ORIGIN, registry = REGISTRY, erased = [] } = options;
  const hours = options.hours ?? [{ entries: 3 }, { entries: 0 }, { entries: 5 }, { entries: 2 }];
  const genesisSigner = addressOf(SIGNERS[0]!);
  const logId = logIdOf(genesisSigner, origin);
  const made: MadeHour[] = [];
  const all: string[] = [];
  let epoch = 0;
  let head = ZERO;
  for (const [index, hour] of hours.entries()) {
    const seq = index + 1;
    const period = PERIOD + index * PERIOD_SECONDS;
    const entries = Array.from({ length: hour.entries }, (_, at) => {
      const leaf = all.length + at;
      return makeEntry(leaf, new Date((period + 60 + at) * 1000 + 123).toISOString(), erased.includes(leaf));
    });
    all.push(...entries.map(({ entry }) => entry));
    const { root } = treeOf(all, 0);
    const signer = SIGNERS[epoch]!;
    const statement = { logId, seq, period, treeSize: all.length, root, prev: head };
    head = structHash('Seal', statement);
    const seal: BundleSeal = {
      seal: {
        ...statement,
        signer: addressOf(signer),
        epoch,
        signature: await signed(signer, registry, 'Seal', statement),
      },
      checkpoint: checkpointOf(origin, all.length, root, OPERATOR),
      anchor: positionOf(`seal ${seq}`, 1000 + 10 * seq),
    };
    let handover: AnchoredHandover | undefined;
    if (hour.handover === true) {
      epoch++;
      const parties = { from: signer, to: SIGNERS[epoch]! };
      handover = {
        ...(await makeHandover(registry, parties, { logId, epochTo: epoch, seq, head })),
        proposed: positionOf(`propose ${epoch}`, 1000 + 10 * seq + 3),
        accepted: positionOf(`accept ${epoch}`, 1000 + 10 * seq + 5),
      };
      head = structHash('HandoverAccept', handover.accept);
    }
    made.push({ seal, entries, handover });
  }
  return { origin, registry, genesisSigner, logId, hours: made };
}

/** The complete subtrees under the root, by RFC 9162's own definition. */
function subtrees(entries: readonly string[]): Hex[] {
  const nodes: Hex[] = [];
  for (let at = 0; at < entries.length;) {
    const width = 2 ** Math.floor(Math.log2(entries.length - at));
    nodes.push(treeOf(entries.slice(at, at + width), 0).root);
    at += width;
  }
  return nodes;
}

/** A bundle as its header and its other lines. */
export interface MadeBundle {
  header: BundleHeader;
  lines: BundleLine[];
}

const periodOf = (seq: number): number => PERIOD + (seq - 1) * PERIOD_SECONDS;

/** The bundle of hours `first` (from 1) to `last` of a log; a copy. */
export function bundleOf(log: MadeLog, first = 1, last = log.hours.length): MadeBundle {
  const { origin, registry, genesisSigner } = log;
  const hours = log.hours.slice(first - 1, last);
  const lines: BundleLine[] = [];
  if (first > 1) {
    const before = log.hours.slice(0, first - 1);
    for (const { handover } of before.slice(0, -1)) if (handover !== undefined) lines.push({ handover });
    const base = before.at(-1)!;
    const entries = before.flatMap((hour) => hour.entries.map(({ entry }) => entry));
    lines.push({ base: base.seal.seal, nodes: subtrees(entries), anchor: base.seal.anchor });
    if (base.handover !== undefined) lines.push({ handover: base.handover });
  }
  for (const [index, { seal, entries, handover }] of hours.entries()) {
    lines.push(seal, ...entries);
    if (handover !== undefined && index + 1 < hours.length) lines.push({ handover });
  }
  lines.push({ seals: hours.length, entries: hours.reduce((sum, hour) => sum + hour.entries.length, 0) });
  return structuredClone<MadeBundle>({
    header: {
      format: 'kiff.bundle/1',
      origin,
      genesisSigner,
      registry,
      periodSeconds: PERIOD_SECONDS,
      from: periodOf(first),
      to: periodOf(last),
    },
    lines,
  });
}

/** A bundle's text. */
export function textOf({ header, lines }: MadeBundle): string {
  return [header, ...lines].map((line) => `${JSON.stringify(line)}\n`).join('');
}

/** Text as bytes in chunks of some size. */
export async function* chunksOf(text: string | Uint8Array, size = 1000): AsyncGenerator<Uint8Array> {
  const bytes = Buffer.from(text);
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}
