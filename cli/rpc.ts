/** JSON-RPC over HTTP for the verifier, here and on the page: one call a request, nothing retried, every answer bounded in time and size. */
import { RpcRefused, RpcTooLarge, RpcUnreachable, type Rpc } from '../protocol/index.ts';
import { UsageError } from './command.ts';

/**
 * How long one call may take, and how large its answer may be. A receipt of a batch of 100 seals has about 200 kB; parsed,
 * an answer takes up to 20 times its bytes.
 */
export interface RpcLimits {
  readonly timeoutMs: number;
  readonly maxBytes: number;
}

const DEFAULT_LIMITS: RpcLimits = { timeoutMs: 15_000, maxBytes: 8 * 1024 * 1024 };

/** JSON-RPC's "limit exceeded" (EIP-1474): the node did not look, so nothing is known. */
const LIMIT_EXCEEDED = -32005;

const MAX_MESSAGE = 200;

async function readBounded(body: ReadableStream<Uint8Array>, maxBytes: number): Promise<string> {
  const decoder = new TextDecoder('utf-8', { fatal: true });
  let text = '';
  let size = 0;
  // Not as an async iterator: the page runs this too, and not every browser has one here.
  const reader = body.getReader();
  for (let next = await reader.read(); !next.done; next = await reader.read()) {
    size += next.value.length;
    if (size > maxBytes) {
      await reader.cancel();
      throw new RpcTooLarge(maxBytes);
    }
    text += decoder.decode(next.value, { stream: true });
  }
  return text + decoder.decode();
}

/** The `result` of a JSON-RPC answer. */
function resultOf(text: string, id: number): unknown {
  let answer: unknown;
  try {
    answer = JSON.parse(text);
  } catch {
    throw new RpcUnreachable('its answer is not JSON');
  }
  if (typeof answer !== 'object' || answer === null || Array.isArray(answer)) {
    throw new RpcUnreachable('its answer is not JSON-RPC');
  }
  if ('error' in answer && typeof answer.error === 'object' && answer.error !== null) {
    const { code, message } = answer.error as { code?: unknown; message?: unknown };
    const said = typeof message === 'string' ? message.slice(0, MAX_MESSAGE) : 'no message';
    if (code === LIMIT_EXCEEDED) throw new RpcUnreachable(`it refuses for now: ${said}`);
    throw new RpcRefused(typeof code === 'number' ? code : 0, said);
  }
  if (!('id' in answer) || answer.id !== id || !('result' in answer)) {
    throw new RpcUnreachable('its answer is not that of the call');
  }
  return answer.result;
}

/** What is known of a failed fetch, without the URL: it may hold an access key. */
function causeOf(error: unknown): string {
  if (error instanceof DOMException && error.name === 'TimeoutError') return 'it did not answer in time';
  const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error;
  if (cause instanceof Error && 'code' in cause && typeof cause.code === 'string') return cause.code;
  return cause instanceof Error ? cause.name : 'no answer';
}

/**
 * A JSON-RPC client for one http or https URL.
 * @throws (from each call) RpcUnreachable when no JSON-RPC answer came: connection, time, size, HTTP status, form; RpcRefused
 * when the node answered with an error.
 */
export function createHttpRpc(url: URL, limits: RpcLimits = DEFAULT_LIMITS): Rpc {
  let calls = 0;
  return async (method, params) => {
    const id = ++calls;
    try {
      const response = await fetch(url, {
        method: 'POST',
        headers: { 'content-type': 'application/json', accept: 'application/json' },
        body: JSON.stringify({ jsonrpc: '2.0', id, method, params }),
        redirect: 'error',
        signal: AbortSignal.timeout(limits.timeoutMs),
      });
      if (!response.ok || response.body === null) {
        await response.body?.cancel();
        throw new RpcUnreachable(`it answered with HTTP status ${response.status}`);
      }
      return resultOf(await readBounded(response.body, limits.maxBytes), id);
    } catch (error) {
      if (error instanceof RpcRefused || error instanceof RpcUnreachable) throw error;
      throw new RpcUnreachable(causeOf(error), { cause: error });
    }
  };
}

/**
 * What follows an option that takes a URL.
 * @throws UsageError when it is no URL that fetch takes
 */
export function httpUrl(option: string, text: string): URL {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url === undefined || (url.protocol !== 'http:' && url.protocol !== 'https:')) {
    throw new UsageError(`${option} takes an http or https URL`);
  }
  // fetch refuses URLs with credentials; say so before it looks like a dead node.
  if (url.username !== '' || url.password !== '') {
    throw new UsageError(`${option} takes no user name or password in the URL`);
  }
  return url;
}

/** What follows `--rpc`. @throws UsageError */
export const rpcUrl = (text: string): URL => httpUrl('--rpc', text);
