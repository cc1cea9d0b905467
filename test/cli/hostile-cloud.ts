/**
 * The cloud as a tenant's signer meets it, and as bad as it can be: it serves requests, takes answers, and publishes tiles, over HTTP. Honest
 * unless a test makes it otherwise. Statements are made and hashed by viem, so that the signer is held against other people's code.
 */
import { createHash, randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { hashTypedData, recoverAddress } from 'viem';
import { encodeEntry, leafHash, parseIndexPath, toHex, type Hex, type Registry } from '../../protocol/index.ts';
import { encodeBundle } from '../../protocol/tlog-tiles.ts';
import { bytesOf, domainOf, logIdOf, structHash, TYPES, ZERO, type TypeName } from '../protocol/receipt-factory.ts';
import { ReferenceTree } from '../protocol/reference-tree.ts';
import { grow, Store } from '../protocol/tile-store.ts';

export const P = 3600;
export const API_KEY = 'kiff_live_signer';
const ORIGIN = 'kiff.dev/t/acme';
const OLD_SIGNER: Hex = `0x${'9e'.repeat(20)}`;
const REGISTRY: Registry = { chainId: 31_337, contract: `0x${'c0'.repeat(20)}` };
/** Long over, so that as many periods can follow as a test likes. */
const FIRST_PERIOD = 1_700_000_000 - (1_700_000_000 % P);

type Fields = Readonly<Record<string, string | number>>;

export interface Request {
  readonly id: string;
  readonly kind: string;
  readonly digest: Hex;
  readonly [member: string]: unknown;
}

export interface Answer {
  readonly id: string;
  readonly signature?: Hex;
  readonly refused?: string;
}

/** What can be made to fail: the connection is cut. */
type Service = 'requests' | 'answers' | 'tiles';

export interface Seen {
  readonly epoch: number;
  readonly seq: number;
  readonly period: number;
  readonly treeSize: number;
  readonly root: Hex;
  readonly prev: Hex;
}

export type Cloud = Awaited<ReturnType<typeof startCloud>>;

function leafOf(entry: Uint8Array): Uint8Array {
  return Buffer.from(leafHash(entry).slice(2), 'hex');
}

function entryOf(id: string): Uint8Array {
  const commitment = createHash('sha256').update(id).digest('hex');
  return encodeEntry({ id, receivedAt: '2023-11-14T22:13:20.000Z', key: 'k1', commitment });
}

const rootOf = (all: readonly Uint8Array[]): Hex => toHex(new ReferenceTree(all.map(leafOf)).root(all.length));

/** @param signer the address of the tenant's key */
export async function startCloud(signer: Hex, options: { registry?: Registry; origin?: string; logId?: Hex } = {}) {
  const { registry = REGISTRY, origin = ORIGIN } = options;
  const logId = options.logId ?? logIdOf(OLD_SIGNER, origin);
  const path = `/${origin.slice(origin.indexOf('/') + 1)}`;
  const entries: Uint8Array[] = [];
  let served: readonly Uint8Array[] = [];
  let store = new Store();
  /** The log as it is in truth: the last seal, and the head. */
  const standing = { epoch: 0, seq: 0, period: FIRST_PERIOD - P, head: ZERO, seal: null as Seen | null };
  const open: Request[] = [];
  const answers: Answer[] = [];
  const failing = new Set<Service>();
  const calls: string[] = [];
  let waiting: (() => void)[] = [];
  let answered: (() => void)[] = [];

  function publish(all: readonly Uint8Array[]): void {
    served = all;
    store = new Store();
    if (all.length > 0) grow(store, all.map(leafOf), 100);
  }

  /** A request as an honest cloud makes it, and whatever is changed in it afterwards. */
  function ask(kind: string, type: TypeName, message: Fields, more: object, change: object = {}): Request {
    const domain = domainOf(registry);
    const types = { ...TYPES, EIP712Domain: DOMAIN };
    const digest = hashTypedData({ domain, types: TYPES, primaryType: type, message });
    const typedData = {
      types: { EIP712Domain: DOMAIN, [type]: types[type] },
      primaryType: type,
      domain,
      message,
    };
    const common = { id: randomUUID(), kind, logId, registry, signer, typedData, digest, createdAt: 1_700_000_000 };
    return { ...common, ...more, ...change };
  }

  function askSeal(kind: 'seal' | 'shadow', { epoch, ...seal }: Seen, change: object = {}): Request {
    const { seal: last, head } = standing;
    const previous = last && { treeSize: last.treeSize, root: last.root, sealHash: head };
    return ask(kind, 'Seal', { logId, ...seal }, { seal: { epoch, ...seal }, previous }, change);
  }

  /** The statement that comes next in truth, over everything that was written. */
  function nextSeal(): Seen {
    const { epoch, seq, period, head } = standing;
    return { epoch, seq: seq + 1, period: period + P, treeSize: entries.length, root: rootOf(entries), prev: head };
  }

  function hashOf({ seq, period, treeSize, root, prev }: Seen): Hex {
    return structHash('Seal', { logId, seq, period, treeSize, root, prev });
  }

  const cloud = {
    origin,
    logId,
    registry,
    signer,
    standing,
    open,
    answers,
    failing,
    /** What was asked of the server, in order: `requests`, `answer`, `tile`, `entries`. */
    calls,
    url: '',
    /** The word with which what is behind the API throws answers back after it has taken them; null: it does not. */
    throwsBack: null as string | null,
    policy: {
      format: 'kiff.signer-policy/1',
      origin,
      logId,
      registry: { ...registry, periodSeconds: P },
      signer,
      handOverTo: [] as Hex[],
    },
    entries,
    publish,
    rootOf,
    entryOf,
    hashOf,
    nextSeal,
    ask,
    askSeal,

    /** Adds records to the log and publishes them. */
    write(count: number): void {
      for (let at = 0; at < count; at++) entries.push(entryOf(`rec-${entries.length}`));
      publish(entries);
    },

    /** Takes a statement for sealed. */
    advance(seal: Seen): void {
      Object.assign(standing, { seq: seal.seq, period: seal.period, head: hashOf(seal), seal });
    },

    offer(...requests: readonly Request[]): void {
      open.push(...requests);
      const all = waiting;
      waiting = [];
      for (const wake of all) wake();
    },

    /** The next seal in truth, asked for. */
    seal(records = 3): Seen {
      cloud.write(records);
      const seal = nextSeal();
      cloud.offer(askSeal('seal', seal));
      cloud.advance(seal);
      return seal;
    },

    /** A seal of the old key's, which is not asked for here. */
    sealByOldKey(records = 3): Seen {
      cloud.write(records);
      const seal = nextSeal();
      cloud.advance(seal);
      return seal;
    },

    shadow(): Seen {
      const seal = cloud.sealByOldKey();
      cloud.offer(askSeal('shadow', seal));
      return seal;
    },

    proof(change: object = {}): Request {
      const message = { logId, newSigner: signer, nonce: bytesOf('nonce'), expiresAt: inHours(24) };
      return ask('proof', 'CustodyProof', message, { message }, change);
    },

    handover(change: Fields = {}): { request: Request; hash: Hex; message: Fields } {
      const message = {
        logId,
        epochTo: standing.epoch + 1,
        from: OLD_SIGNER,
        to: signer,
        custody: 3,
        notBefore: 1_700_000_000,
        expiresAt: inHours(72),
        nonce: bytesOf('handover'),
        ...change,
      };
      return {
        request: ask('handover', 'Handover', message, { message }),
        hash: structHash('Handover', message),
        message,
      };
    },

    accept(handoverHash: Hex, change: Fields = {}, more: object = {}): Request {
      const { seq, head, epoch, seal } = standing;
      const message = { logId, epochTo: epoch + 1, handoverHash, seq, head, ...change };
      const { epoch: _, ...standingSeal } = seal ?? { epoch: 0 };
      return ask('accept', 'HandoverAccept', message, { message, standing: seal && standingSeal, ...more });
    },

    cancel(handoverHash: Hex, change: Fields = {}): Request {
      const message = { logId, epochTo: standing.epoch + 1, handoverHash, ...change };
      return ask('cancel', 'HandoverCancel', message, { message });
    },

    /** The new key is the signer from here on. */
    succeed(accept: Request): void {
      const message = accept['message'] as Fields;
      standing.epoch = Number(message['epochTo']);
      standing.head = structHash('HandoverAccept', message);
    },

    /** All of a migration up to the acceptance, asked for in its order. */
    migrate(): void {
      const { request, hash } = cloud.handover();
      cloud.sealByOldKey();
      cloud.offer(cloud.proof());
      cloud.shadow();
      cloud.shadow();
      cloud.offer(request);
      const accept = cloud.accept(hash);
      cloud.offer(accept);
      cloud.succeed(accept);
    },

    /** The signatures that came for a request. */
    signaturesOf(request: Pick<Request, 'id'>): Hex[] {
      return answers.flatMap(({ id, signature }) => (id === request.id && signature !== undefined ? [signature] : []));
    },

    refusalsOf(request: Pick<Request, 'id'>): string[] {
      return answers.flatMap(({ id, refused }) => (id === request.id && refused !== undefined ? [refused] : []));
    },

    /** Resolves once so many answers have come. */
    async answersReach(count: number): Promise<void> {
      while (answers.length < count) await new Promise<void>((resolve) => answered.push(resolve));
    },

    async stop(): Promise<void> {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };

  async function serveAnswer(id: string, request: IncomingMessage, response: ServerResponse): Promise<void> {
    let body = '';
    for await (const chunk of request) body += String(chunk);
    const answer = { id, ...(JSON.parse(body) as object) } as Answer;
    const asked = open.find((each) => each.id === id);
    if (failing.has('answers')) {
      request.destroy();
      return;
    }
    const known = answers.some((each) => each.id === id && each.signature === answer.signature && !each.refused);
    if (asked === undefined && !known) {
      problem(response, 410, 'request-closed');
      return;
    }
    if (answer.signature !== undefined && asked !== undefined) {
      const by = await recoverAddress({ hash: asked.digest, signature: answer.signature });
      if (by.toLowerCase() !== signer) {
        problem(response, 422, 'wrong-signer');
        return;
      }
    }
    answers.push(answer);
    if (asked !== undefined) {
      open.splice(open.indexOf(asked), 1);
      if (cloud.throwsBack !== null) cloud.offer({ ...asked, lastAnswerRefused: cloud.throwsBack });
    }
    response.writeHead(204).end();
    const all = answered;
    answered = [];
    for (const wake of all) wake();
  }

  async function serveRequests(url: URL, response: ServerResponse): Promise<void> {
    if (open.length === 0 && url.searchParams.get('wait') !== '0') {
      await new Promise<void>((resolve) => {
        waiting.push(resolve);
        response.on('close', resolve);
      });
    }
    response.setHeader('content-type', 'application/json').end(JSON.stringify({ origin, requests: open }));
  }

  function serveLog(name: string, response: ServerResponse): void {
    const [, kind = '', rest = ''] = /^\/tile\/(\d+|entries)\/(.+)$/.exec(name) ?? [];
    const place = parseIndexPath(rest);
    calls.push(kind === 'entries' ? 'entries' : 'tile');
    if (place === undefined) {
      response.writeHead(404).end();
    } else if (kind === 'entries') {
      const from = place.index * 256;
      const part = served.slice(from, from + place.width);
      if (part.length < place.width) response.writeHead(404).end();
      else response.end(encodeBundle(part));
    } else {
      const hashes = store.rows.get(`${kind}/${place.index}`)?.hashes;
      if (hashes === undefined || hashes.length < 32 * place.width) response.writeHead(404).end();
      else response.end(hashes.subarray(0, 32 * place.width));
    }
  }

  async function serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = new URL(request.url ?? '/', 'http://cloud');
    const id = /^\/v1\/signer\/requests\/([0-9a-f-]+)$/.exec(url.pathname)?.[1];
    if (request.headers.authorization !== `Bearer ${API_KEY}`) problem(response, 401, 'unauthorized');
    else if (id !== undefined) {
      calls.push('answer');
      await serveAnswer(id, request, response);
    } else if (url.pathname === '/v1/signer/requests') {
      calls.push('requests');
      if (failing.has('requests')) request.destroy();
      else await serveRequests(url, response);
    } else if (failing.has('tiles')) request.destroy();
    else if (url.pathname.startsWith(`${path}/`)) serveLog(url.pathname.slice(path.length), response);
    else response.writeHead(404).end();
  }

  const server = createServer((request, response) => void serve(request, response));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  cloud.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return cloud;
}

const DOMAIN = [
  { name: 'name', type: 'string' },
  { name: 'version', type: 'string' },
  { name: 'chainId', type: 'uint256' },
  { name: 'verifyingContract', type: 'address' },
];

/** A time that signer and cloud agree on within a minute. */
const inHours = (hours: number): number => Math.floor(Date.now() / 1000) + hours * 3600;

function problem(response: ServerResponse, status: number, reason: string): void {
  response
    .writeHead(status, { 'content-type': 'application/problem+json' })
    .end(JSON.stringify({ status, detail: 'The cloud says no.', reason }));
}
