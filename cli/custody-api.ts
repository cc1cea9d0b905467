/** The custody API as the CLI asks it: with a session token that is made anew when it has ended. */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { UsageError } from './command.ts';
import type { CustodyEnv } from './env.ts';

const ANSWER_MILLISECONDS = 15_000;

/** What the API refused, in its own sentence. */
export class Refused extends Error {
  override readonly name = 'Refused';
}

/** Nobody answers there. What was asked may have been done all the same. */
export class Unreachable extends Refused {
  constructor() {
    super('the custody API cannot be reached');
  }
}

export type CustodyApi = (method: 'GET' | 'POST', path: string, body?: object) => Promise<unknown>;

export function createCustodyApi({ url, token, tokenCommand }: CustodyEnv): CustodyApi {
  let current = token;

  async function fresh(): Promise<string> {
    if (tokenCommand === undefined) throw new UsageError('KIFF_SESSION_TOKEN or KIFF_SESSION_COMMAND must be set');
    const { stdout } = await promisify(execFile)('sh', ['-c', tokenCommand]).catch(() => {
      throw new UsageError('KIFF_SESSION_COMMAND has failed');
    });
    return stdout.trim();
  }

  async function send(method: string, path: string, body: object | undefined): Promise<Response> {
    try {
      return await fetch(url + path, {
        method,
        redirect: 'error',
        signal: AbortSignal.timeout(ANSWER_MILLISECONDS),
        headers: { authorization: `Bearer ${current}`, ...(body && { 'content-type': 'application/json' }) },
        ...(body && { body: JSON.stringify(body) }),
      });
    } catch {
      throw new Unreachable();
    }
  }

  return async (method, path, body) => {
    current ??= await fresh();
    let response = await send(method, path, body);
    if (response.status === 401 && tokenCommand !== undefined) {
      current = await fresh();
      response = await send(method, path, body);
    }
    const answer = (await response.json().catch(() => ({}))) as { detail?: unknown };
    if (response.ok) return answer;
    throw new Refused(typeof answer.detail === 'string' ? answer.detail : `the custody API answers ${response.status}`);
  };
}
