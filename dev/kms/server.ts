import { once } from 'node:events';
import { createServer } from 'node:http';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { z } from 'zod';
import { actions } from './actions/index.ts';
import { createCallCounter } from './calls.ts';
import type { CallCounter } from './calls.ts';
import { handleControl } from './control.ts';
import { KmsError, notFound } from './errors.ts';
import { createFaultBoard } from './faults.ts';
import type { FaultBoard, Target } from './faults.ts';
import { answer, answerError, parseJson, readBody } from './http.ts';
import { principalOf, principalsSchema } from './principal.ts';
import type { Principal, Principals } from './principal.ts';
import { lookUp, parseKeyReference } from './reference.ts';
import { verifySigV4 } from './sigv4.ts';
import { openStore } from './store.ts';
import type { Store } from './store.ts';

export interface KmsOptions {
  /** Access key id → who it is. */
  readonly principals: Principals;
  /** Where keys and aliases are kept (mode 0600); in memory only without it. */
  readonly stateFile?: string;
  /** 0, the default, takes a free one. */
  readonly port?: number;
  /** Opens `/_faults` and `/_calls`; without it they do not exist. */
  readonly controlToken?: string;
  /** The clock, in milliseconds; for tests that let a key's waiting period pass. */
  readonly now?: () => number;
}

export interface Kms {
  /** `http://127.0.0.1:<port>`, for `AWS_ENDPOINT_URL_KMS`. */
  readonly url: string;
  readonly port: number;
  /** Drops open connections and frees the port; may be called again. */
  stop(): Promise<void>;
}

interface Parts {
  readonly principals: Principals;
  readonly store: Store;
  readonly faults: FaultBoard;
  readonly calls: CallCounter;
  readonly controlToken: string | undefined;
  readonly now: () => number;
  readonly stopping: AbortSignal;
}

const anyKeyName = z.object({
  KeyId: z.string().optional(),
  TargetKeyId: z.string().optional(),
  AliasName: z.string().optional(),
});

/** Which key a request is about, for faults and counters; a request that names none is about none, and no error here. */
function targetKeyId(input: unknown, store: Store, own: { accountId: string; region: string }): string | null {
  const named = anyKeyName.safeParse(input);
  const text = named.data?.KeyId ?? named.data?.TargetKeyId ?? named.data?.AliasName;
  if (text === undefined) return null;
  try {
    return lookUp(store, parseKeyReference(text, own))?.keyId ?? null;
  } catch (error) {
    if (error instanceof KmsError) return null;
    throw error;
  }
}

function actionName(request: IncomingMessage): string {
  const target = request.headers['x-amz-target'];
  return typeof target === 'string' && target.startsWith('TrentService.') ? target.slice('TrentService.'.length) : '';
}

async function injectedFailure(target: Target, { faults, stopping }: Parts): Promise<KmsError | undefined> {
  const wait = faults.take('delay', target);
  if (wait !== undefined) await delay(wait.ms, undefined, { signal: stopping });
  if (faults.take('throttle', target) !== undefined) return new KmsError('ThrottlingException', 'Rate exceeded');
  const failure = faults.take('server-error', target);
  if (failure === undefined) return undefined;
  return failure.status === 503
    ? new KmsError('ServiceUnavailableException', 'Service Unavailable', 503)
    : new KmsError('KMSInternalException', 'KMS encountered an internal error.', 500);
}

/** One KMS request, start to end. Returns false when the answer is to be lost: the action was done, the caller never learns it. */
async function handleKms(
  request: IncomingMessage,
  response: ServerResponse,
  body: Buffer,
  parts: Parts,
): Promise<boolean> {
  const { principals, store, faults, calls, now } = parts;
  const seen: { caller: Principal | null; target: Target } = {
    caller: null,
    target: { action: actionName(request), keyId: null },
  };
  const record = (outcome: string): void => calls.record({ ...seen.target, caller: seen.caller?.arn ?? null, outcome });
  try {
    const { method = '', url = '', headers } = request;
    const verified = verifySigV4({ method, url, headers, body, now: now() }, (id) =>
      Object.hasOwn(principals, id) ? principals[id] : undefined,
    );
    const config = principals[verified.accessKeyId];
    if (config === undefined) throw new TypeError('a verified access key has no principal');
    const caller = principalOf(config);
    seen.caller = caller;
    const action = actions.get(seen.target.action);
    if (action === undefined)
      throw new KmsError('UnknownOperationException', `Operation ${seen.target.action} is not known.`);
    const input = parseJson(body);
    store.expire(now());
    const keyId = targetKeyId(input, store, { accountId: caller.accountId, region: verified.region });
    seen.target = { ...seen.target, keyId };
    const failure = await injectedFailure(seen.target, parts);
    if (failure !== undefined) throw failure;
    const output = action(input, { caller, region: verified.region, now: now(), store, faults });
    record('ok');
    if (faults.take('lose-answer', seen.target) !== undefined) return false;
    answer(response, 200, output, now());
  } catch (error) {
    record(error instanceof Error ? error.name : 'unknown');
    answerError(response, error, now());
  }
  return true;
}

async function handle(request: IncomingMessage, response: ServerResponse, parts: Parts): Promise<void> {
  try {
    if (request.method === 'GET' && request.url === '/_health')
      return answer(response, 200, { status: 'ok' }, parts.now());
    const body = await readBody(request);
    const control = handleControl(request, body, { ...parts, token: parts.controlToken });
    if (control !== undefined) return answer(response, 200, control, parts.now());
    if (request.url !== '/') throw notFound(`There is nothing at ${request.url}.`);
    if (!(await handleKms(request, response, body, parts))) request.socket.destroy();
  } catch (error) {
    answerError(response, error, parts.now());
  }
}

/**
 * Starts the stand-in on 127.0.0.1. Throws when `NODE_ENV` is `production`, when the options or the state file are no good, or when the
 * port is taken.
 */
export async function startKms(options: KmsOptions): Promise<Kms> {
  if (process.env['NODE_ENV'] === 'production')
    throw new Error('kms: the KMS stand-in refuses to run with NODE_ENV=production');
  const principals = principalsSchema.safeParse(options.principals);
  if (!principals.success) throw new Error(`kms: bad principals\n${z.prettifyError(principals.error)}`);
  const stop = new AbortController();
  const parts: Parts = {
    principals: principals.data,
    store: openStore(options.stateFile),
    faults: createFaultBoard(),
    calls: createCallCounter(),
    controlToken: options.controlToken,
    now: options.now ?? Date.now,
    stopping: stop.signal,
  };
  const server = createServer((request, response) => void handle(request, response, parts));
  server.listen(options.port ?? 0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  let stopped: Promise<unknown> | undefined;
  return {
    url: `http://127.0.0.1:${port}`,
    port,
    stop: async () => {
      stopped ??= (() => {
        const closed = once(server, 'close');
        stop.abort();
        server.close();
        server.closeAllConnections();
        return closed;
      })();
      await stopped;
    },
  };
}
