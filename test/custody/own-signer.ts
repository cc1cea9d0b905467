/** A tenant's own signer, as small as one can be: it fetches over HTTP, judges nothing, and signs what it is told to. */
import { setTimeout as delay } from 'node:timers/promises';
import { generatePrivateKey, privateKeyToAccount } from 'viem/accounts';
import type { Hex } from '../../protocol/hex.ts';

export interface SigningRequest {
  id: string;
  kind: string;
  digest: Hex;
  signer: Hex;
  typedData: { primaryType: string; message: Record<string, unknown> };
  seal?: { epoch: number; seq: number; period: number; treeSize: number; root: Hex; prev: Hex };
  previous?: { treeSize: number } | null;
  message?: Record<string, unknown>;
  lastAnswerRefused?: string;
}

export interface Answered {
  status: number;
  reason: string | undefined;
}

export interface OwnSigner {
  address: Hex;
  /** What it has signed, in order. */
  signed: SigningRequest[];
  list(wait?: number): Promise<SigningRequest[]>;
  answer(id: string, body: object): Promise<Answered>;
  sign(request: Pick<SigningRequest, 'digest'>): Promise<Hex>;
  /** Fetches and signs from now on. */
  come(): void;
  /** Stays away; resolves when it has. */
  leave(): Promise<void>;
}

/**
 * @param url of the ingest API
 * @param key an API key of scope `signer`
 */
export function createOwnSigner(url: string, key: string): OwnSigner {
  const account = privateKeyToAccount(generatePrivateKey());
  const headers = { authorization: `Bearer ${key}`, 'content-type': 'application/json' };
  const signed: SigningRequest[] = [];
  let visit = new AbortController();
  let running: Promise<void> = Promise.resolve();

  const signer: OwnSigner = {
    address: account.address.toLowerCase() as Hex,
    signed,
    async list(wait = 0) {
      const answer = await fetch(`${url}/v1/signer/requests?wait=${wait}`, { headers });
      const body = (await answer.json()) as { requests?: SigningRequest[] };
      if (body.requests === undefined) throw new Error(`${answer.status} ${JSON.stringify(body)}`);
      return body.requests;
    },
    async answer(id, body) {
      const answer = await fetch(`${url}/v1/signer/requests/${id}`, {
        method: 'POST',
        headers,
        body: JSON.stringify(body),
      });
      const text = await answer.text();
      return {
        status: answer.status,
        reason: text === '' ? undefined : (JSON.parse(text) as { reason?: string }).reason,
      };
    },
    sign: ({ digest }) => account.sign({ hash: digest }),
    come() {
      const { signal } = (visit = new AbortController());
      running = (async () => {
        while (!signal.aborted) {
          for (const request of await signer.list(1)) {
            const { status, reason } = await signer.answer(request.id, { signature: await signer.sign(request) });
            if (status !== 204) throw new Error(`${request.kind}: ${status} ${reason}`);
            signed.push(request);
          }
          await delay(10);
        }
      })();
      running.catch(() => undefined); // `leave` says so
    },
    async leave() {
      visit.abort();
      await running;
    },
  };
  return signer;
}
