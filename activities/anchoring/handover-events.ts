/**
 * What the contract says of handovers of our logs, whoever sent them, and what was signed for them, read out of the calls that
 * brought them. Whatever is read out of a call has to hash and recover to what the event says: nobody is believed.
 */
import {
  decodeFunctionData,
  formatLog,
  getAbiItem,
  numberToHex,
  parseEventLogs,
  toEventSelector,
  toFunctionSelector,
  type Log,
  type PublicClient,
  type TransactionReceipt,
} from 'viem';
import { registryAbi } from '../../contracts/registry.ts';
import type { Handover, Registry } from '../../protocol/eip712.ts';
import { handoverAcceptDigest, handoverAcceptHash, handoverDigest, handoverHash } from '../../protocol/handover.ts';
import type { Hex } from '../../protocol/hex.ts';
import { recoverSigner } from '../../protocol/signature.ts';
import { reachable } from '../chain/registry.ts';
import type { Anchor } from './queue.ts';

interface Of {
  logId: Hex;
  epochTo: number;
  handoverHash: Hex;
  anchor: Anchor;
}

/** What the transaction's call carried, as far as it could be read and is true. */
interface Signed {
  handover: Handover;
  fromSignature: Hex | null;
  toSignature: Hex | null;
  acceptSignature: Hex | null;
}

interface Proposed extends Of {
  fact: 'proposed';
  from: Hex;
  to: Hex;
  custody: number;
  eta: number;
  expiresAt: number;
  signed: Signed | null;
}
interface Accepted extends Of {
  fact: 'accepted';
  to: Hex;
  /** The old signer's last seal. */
  seq: number;
  /** The log's head before: one of ours that gives `acceptHash`, or null. */
  head: Hex | null;
  /** The log's head after. */
  acceptHash: Hex;
  signed: Signed | null;
}
interface Cancelled extends Of {
  fact: 'cancelled';
  signed: null;
}
export type HandoverEvent = Proposed | Accepted | Cancelled;

/** Logs, or handovers, asked for in one request. */
const AT_ONCE = 500;

const selectorOf = (name: 'HandoverProposed' | 'HandoverAccepted' | 'HandoverCancelled'): Hex =>
  toEventSelector(getAbiItem({ abi: registryAbi, name }));
const SUCCESSION = [selectorOf('HandoverProposed'), selectorOf('HandoverAccepted')];
const CANCELLATION = [selectorOf('HandoverCancelled')];

/**
 * Proposals and acceptances of these logs, and cancellations of these handovers and of those just proposed, in blocks `from` to
 * `to`, both included. (Anybody can have the contract cancel a handover of his own making that names our log.)
 */
export async function readHandovers(
  client: PublicClient,
  contract: Hex,
  { logIds, hashes }: { logIds: readonly Hex[]; hashes: readonly Hex[] },
  { from, to }: { from: bigint; to: bigint },
): Promise<HandoverEvent[]> {
  if (from > to) return [];
  const range = { address: contract, fromBlock: numberToHex(from), toBlock: numberToHex(to) };
  const ask = async (filters: readonly (Hex[] | null)[][]): Promise<HandoverEvent[]> => {
    const found = await reachable(() =>
      Promise.all(
        filters.map((topics) => client.request({ method: 'eth_getLogs', params: [{ ...range, topics: [...topics] }] })),
      ),
    );
    return decode(
      found.flat().map((log) => formatLog(log)),
      contract,
    );
  };
  const ours = new Set(logIds);
  const succession = (await ask(pages(logIds).map((page) => [SUCCESSION, page]))).filter((e) => ours.has(e.logId));
  const known = [...new Set([...hashes, ...succession.map((event) => event.handoverHash)])];
  const cancelled = await ask(pages(known).map((page) => [CANCELLATION, null, null, page]));
  return [...succession, ...cancelled.filter((event) => ours.has(event.logId))].toSorted(
    (a, b) => a.anchor.blockNumber - b.anchor.blockNumber || a.anchor.logIndex - b.anchor.logIndex,
  );
}

/** All handovers' events of our contract in a transaction's receipt. */
export function handoverEvents(receipt: TransactionReceipt, contract: Hex): HandoverEvent[] {
  return decode(receipt.logs, contract);
}

function pages(all: readonly Hex[]): Hex[][] {
  return Array.from({ length: Math.ceil(all.length / AT_ONCE) }, (_, page) =>
    all.slice(page * AT_ONCE, (page + 1) * AT_ONCE),
  );
}

const lower = (address: Hex): Hex => address.toLowerCase() as Hex;

function decode(logs: readonly Log[], contract: Hex): HandoverEvent[] {
  const ours = logs.filter((log) => lower(log.address) === contract);
  const eventName = ['HandoverProposed', 'HandoverAccepted', 'HandoverCancelled'] as const;
  return parseEventLogs({ abi: registryAbi, eventName: [...eventName], logs: ours, strict: true }).map((log) => {
    const anchor = {
      txHash: log.transactionHash,
      blockNumber: Number(log.blockNumber),
      blockHash: log.blockHash,
      logIndex: log.logIndex,
    };
    const { logId, handoverHash: hash } = log.args;
    const of = { logId, handoverHash: hash, anchor };
    if (log.eventName === 'HandoverCancelled') {
      return { fact: 'cancelled', ...of, epochTo: log.args.epochTo, signed: null } as const;
    }
    if (log.eventName === 'HandoverAccepted') {
      const { epoch, to, seq, head } = log.args;
      return {
        fact: 'accepted',
        ...of,
        epochTo: epoch,
        to: lower(to),
        seq,
        head: null,
        acceptHash: head,
        signed: null,
      };
    }
    const { epochTo, from, to, custody, eta, expiresAt } = log.args;
    const due = { custody, eta: Number(eta), expiresAt: Number(expiresAt) };
    return { fact: 'proposed', ...of, epochTo, from: lower(from), to: lower(to), ...due, signed: null };
  });
}

/**
 * Adds to events what their transactions carried and, to an acceptance, the head that it was over.
 * @param headsOf every head that a log of ours had at a seq
 */
export async function withSigned(
  client: PublicClient,
  registry: Registry,
  events: readonly HandoverEvent[],
  headsOf: (places: readonly { logId: Hex; seq: number }[]) => Promise<Map<Hex, readonly Hex[]>>,
): Promise<HandoverEvent[]> {
  const heads = await headsOf(events.flatMap((event) => (event.fact === 'accepted' ? [event] : [])));
  return Promise.all(
    events.map(async (event): Promise<HandoverEvent> => {
      if (event.fact === 'cancelled') return event;
      const { input } = await reachable(() => client.getTransaction({ hash: event.anchor.txHash }));
      if (event.fact === 'proposed') return { ...event, signed: proposalIn(registry, input, event) };
      const head =
        (heads.get(event.logId) ?? []).find((each) => acceptHashOf(event, each) === event.acceptHash) ?? null;
      return { ...event, head, signed: acceptanceIn(registry, input, event, head) };
    }),
  );
}

const accepting = ({ logId, epochTo, handoverHash: hash, seq }: Accepted, head: Hex) => ({
  logId,
  epochTo,
  handoverHash: hash,
  seq,
  head,
});
const acceptHashOf = (event: Accepted, head: Hex): Hex => handoverAcceptHash(accepting(event, head));

function proposalIn(registry: Registry, input: Hex, event: Proposed): Signed | null {
  for (const call of callsIn(input, 'proposeHandover')) {
    const [given, fromSignature, toSignature] = call;
    const handover = handoverOf(given);
    if (handoverHash(handover) !== event.handoverHash) continue;
    const digest = handoverDigest(registry, handover);
    return {
      handover,
      fromSignature: isBy(event.from, digest, fromSignature) ? fromSignature : null,
      toSignature: isBy(event.to, digest, toSignature) ? toSignature : null,
      acceptSignature: null,
    };
  }
  return null;
}

function acceptanceIn(registry: Registry, input: Hex, event: Accepted, head: Hex | null): Signed | null {
  if (head === null) return null;
  for (const [given, acceptSignature] of callsIn(input, 'acceptHandover')) {
    const handover = handoverOf(given);
    if (handoverHash(handover) !== event.handoverHash) continue;
    const digest = handoverAcceptDigest(registry, accepting(event, head));
    if (isBy(event.to, digest, acceptSignature))
      return { handover, fromSignature: null, toSignature: null, acceptSignature };
  }
  return null;
}

/** Whether it is the account's signature as a key; a contract's (ERC-1271) is not, and no receipt can carry it. */
function isBy(account: Hex, digest: Hex, signature: Hex): boolean {
  try {
    return recoverSigner(digest, signature) === account;
  } catch {
    return false; // not in the one form that counts
  }
}

type CallName = 'proposeHandover' | 'acceptHandover';
type ArgsOf<Name extends CallName> = Extract<
  ReturnType<typeof decodeFunctionData<typeof registryAbi>>,
  { functionName: Name }
>['args'];

const SELECTORS: Readonly<Record<CallName, Hex>> = {
  proposeHandover: toFunctionSelector(getAbiItem({ abi: registryAbi, name: 'proposeHandover' })),
  acceptHandover: toFunctionSelector(getAbiItem({ abi: registryAbi, name: 'acceptHandover' })),
};

/** Calls of a function anywhere in a transaction's input: one's own, or what a wallet contract was given to pass on. */
function* callsIn<Name extends CallName>(input: Hex, name: Name): Generator<ArgsOf<Name>> {
  const selector = SELECTORS[name].slice(2);
  for (let at = input.indexOf(selector, 2); at > 0; at = input.indexOf(selector, at + 1)) {
    if (at % 2 !== 0) continue;
    try {
      const call = decodeFunctionData({ abi: registryAbi, data: `0x${input.slice(at)}` });
      if (call.functionName === name) yield call.args as ArgsOf<Name>;
    } catch {
      // these bytes only look like the selector
    }
  }
}

type GivenHandover = ArgsOf<'proposeHandover'>[0];

/** The contract's struct as protocol/ has it. */
export function handoverOf(given: GivenHandover): Handover {
  return {
    ...given,
    from: lower(given.from),
    to: lower(given.to),
    notBefore: Number(given.notBefore),
    expiresAt: Number(given.expiresAt),
  };
}
