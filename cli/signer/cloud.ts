/** The cloud as the signer asks it. The signer calls; nobody ever calls the signer. Every answer is bounded in time and size. */
import { z } from 'zod';
import { printable } from '../command.ts';

/** Nothing came, or nothing usable: ask again later. `retryAfter` in seconds, where the cloud said. */
export class CloudUnreachable extends Error {
  override readonly name = 'CloudUnreachable';
  readonly retryAfter: number | null;

  constructor(message: string, retryAfter: number | null = null) {
    super(message);
    this.retryAfter = retryAfter;
  }
}

/** What became of an answer. Not taken: `word` is the cloud's own, or the status; `why` is its sentence. */
type Taken = { readonly taken: true } | { readonly taken: false; readonly word: string; readonly why: string };

export interface Cloud {
  /**
   * Waits for requests, up to `waitSeconds` (0 to 25).
   * @returns as they came, oldest first
   * @throws CloudUnreachable
   */
  requests(waitSeconds: number, signal: AbortSignal): Promise<readonly unknown[]>;
  /** @throws CloudUnreachable */
  answer(id: string, answer: { signature: string } | { refused: string }): Promise<Taken>;
}

const ANSWER_MS = 15_000;
const MAX_BYTES = 4 * 1024 * 1024;
const MOST_REQUESTS = 200;
const MOST_WORDS = 300;

const listed = z.object({ requests: z.array(z.unknown()).max(MOST_REQUESTS) });
/** RFC 9457, and the fixed word that the custody plane adds. */
const problem = z.object({ detail: z.string().optional(), reason: z.string().optional() });

async function textOf(response: Response): Promise<string> {
  const parts: Uint8Array[] = [];
  let size = 0;
  if (response.body === null) return '';
  for await (const part of response.body as unknown as AsyncIterable<Uint8Array>) {
    size += part.length;
    if (size > MAX_BYTES) throw new CloudUnreachable(`its answer is larger than ${MAX_BYTES} bytes`);
    parts.push(part);
  }
  return Buffer.concat(parts).toString('utf8');
}

/** The cloud's own word and sentence, as far as they may be shown. */
function refusalOf(status: number, text: string): { word: string; why: string } {
  try {
    const { detail, reason } = problem.parse(JSON.parse(text));
    const said = [reason, detail].filter(Boolean).join(': ');
    if (said !== '') {
      const word = reason !== undefined && /^[a-z][a-z-]{1,63}$/.test(reason) ? reason : String(status);
      return { word, why: `${status}: ${printable(said.slice(0, MOST_WORDS))}` };
    }
  } catch {
    // Not ours: a proxy's page.
  }
  return { word: String(status), why: `HTTP status ${status}` };
}

function causeOf(error: unknown): string {
  if (error instanceof DOMException && error.name === 'TimeoutError') return 'it did not answer in time';
  const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error;
  if (cause instanceof Error && 'code' in cause && typeof cause.code === 'string') return cause.code;
  return 'it could not be reached';
}

function secondsToWait(response: Response): number | null {
  const text = response.headers.get('retry-after') ?? '';
  return /^[0-9]{1,5}$/.test(text) ? Number(text) : null;
}

/**
 * @param api an origin, with the path in front of `v1/` if there is one
 * @param key an API key of scope `signer`
 */
export function createCloud(api: URL, key: string): Cloud {
  const base = api.href.replace(/\/$/, '');

  async function send(
    path: string,
    init: RequestInit,
    signal: AbortSignal,
  ): Promise<{ response: Response; text: string }> {
    try {
      const response = await fetch(`${base}/v1/signer/${path}`, {
        ...init,
        redirect: 'error',
        signal,
        headers: {
          authorization: `Bearer ${key}`,
          accept: 'application/json',
          ...(init.body !== undefined && { 'content-type': 'application/json' }),
        },
      });
      return { response, text: await textOf(response) };
    } catch (error) {
      if (error instanceof CloudUnreachable) throw error;
      throw new CloudUnreachable(causeOf(error));
    }
  }

  return {
    async requests(waitSeconds, signal) {
      const limit = AbortSignal.any([signal, AbortSignal.timeout(waitSeconds * 1000 + ANSWER_MS)]);
      const { response, text } = await send(`requests?wait=${waitSeconds}`, {}, limit);
      if (!response.ok) throw new CloudUnreachable(refusalOf(response.status, text).why, secondsToWait(response));
      try {
        return listed.parse(JSON.parse(text)).requests;
      } catch {
        throw new CloudUnreachable('its answer is no list of requests');
      }
    },

    async answer(id, answer) {
      const init = { method: 'POST', body: JSON.stringify(answer) };
      const { response, text } = await send(`requests/${id}`, init, AbortSignal.timeout(ANSWER_MS));
      if (response.ok) return { taken: true };
      const { status } = response;
      const refusal = refusalOf(status, text);
      // Said of this answer, and for good; everything else is about now.
      if ([404, 409, 410, 422].includes(status)) return { taken: false, ...refusal };
      throw new CloudUnreachable(refusal.why, secondsToWait(response));
    },
  };
}
