import { createHash, timingSafeEqual } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import { z } from 'zod';
import type { CallCount, CallCounter } from './calls.ts';
import { KmsError, validation } from './errors.ts';
import { faultSchema } from './faults.ts';
import type { Fault, FaultBoard, FaultInput } from './faults.ts';
import { parseJson } from './http.ts';

const digest = (text: string): Buffer => createHash('sha256').update(text).digest();

/**
 * The control paths, `/_faults` and `/_calls`. Without a configured token they do not exist; with one, they demand
 * `Authorization: Bearer <token>`. Returns undefined when the path is not one of them.
 */
export function handleControl(
  request: IncomingMessage,
  body: Buffer,
  { faults, calls, token }: { faults: FaultBoard; calls: CallCounter; token: string | undefined },
): object | undefined {
  const path = request.url;
  if (token === undefined || (path !== '/_faults' && path !== '/_calls')) return undefined;
  if (!timingSafeEqual(digest(request.headers.authorization ?? ''), digest(`Bearer ${token}`))) {
    throw new KmsError('AccessDeniedException', 'The control token is missing or wrong.', 403);
  }
  switch (`${request.method} ${path}`) {
    case 'POST /_faults': {
      const parsed = z.union([z.array(faultSchema), faultSchema.transform((one) => [one])]).safeParse(parseJson(body));
      if (!parsed.success) throw validation(z.prettifyError(parsed.error));
      for (const fault of parsed.data) faults.add(fault);
      return { faults: faults.list() };
    }
    case 'GET /_faults':
      return { faults: faults.list() };
    case 'DELETE /_faults':
      faults.clear();
      return { faults: [] };
    case 'GET /_calls':
      return { calls: calls.list() };
    case 'DELETE /_calls':
      calls.reset();
      return { calls: [] };
    default:
      throw new KmsError('MethodNotAllowed', `${request.method} is not possible here.`, 405);
  }
}

/** The control paths from the other side, for tests and tools. */
export interface KmsControl {
  inject(...faults: FaultInput[]): Promise<void>;
  faults(): Promise<Fault[]>;
  clearFaults(): Promise<void>;
  calls(): Promise<CallCount[]>;
  resetCalls(): Promise<void>;
  /** How many calls match; a member that is not given matches all. */
  count(match: Partial<Omit<CallCount, 'count'>>): Promise<number>;
}

/** Throws Error with the answer's text when the stand-in refuses. */
export function connectControl({ url, token }: { url: string; token: string }): KmsControl {
  async function send<T>(method: string, path: string, body?: object): Promise<T> {
    const response = await fetch(`${url}${path}`, {
      method,
      headers: { authorization: `Bearer ${token}` },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    const text = await response.text();
    if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${text}`);
    return JSON.parse(text) as T;
  }
  const calls = async (): Promise<CallCount[]> => (await send<{ calls: CallCount[] }>('GET', '/_calls')).calls;
  return {
    inject: async (...faults) => {
      await send('POST', '/_faults', faults);
    },
    faults: async () => (await send<{ faults: Fault[] }>('GET', '/_faults')).faults,
    clearFaults: async () => {
      await send('DELETE', '/_faults');
    },
    calls,
    resetCalls: async () => {
      await send('DELETE', '/_calls');
    },
    count: async (match) =>
      (await calls())
        .filter((call) => Object.entries(match).every(([name, value]) => call[name as keyof CallCount] === value))
        .reduce((sum, call) => sum + call.count, 0),
  };
}
