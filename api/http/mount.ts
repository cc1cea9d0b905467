/** Makes routes of operations, and only of operations. */
import { createHash } from 'node:crypto';
import type { Express, Request, RequestHandler, Response } from 'express';
import type { z } from 'zod';
import type { Caller } from '../access/caller.ts';
import type { Right } from '../access/rights.ts';
import { onlyMethods } from './answer.ts';
import { readJson } from './json-body.ts';
import type { Answers, Method, Operation, Reply } from './operation.ts';
import { Problem, type ProblemSlug } from './problems.ts';

/**
 * Lets a request in or throws the Problem why not. It runs before anything of the request is looked at, and may set
 * headers of the answer.
 */
export type Admit = (right: Right, request: Request, response: Response) => Promise<Caller>;

/**
 * Methods that are not described answer 405, with those that are.
 * @throws Error when an operation asks who calls and nobody can tell
 */
export function mountOperations(app: Express, operations: readonly Operation[], admit: Admit | undefined): void {
  const paths = new Map<string, Operation[]>();
  for (const operation of operations) {
    paths.set(operation.path, [...(paths.get(operation.path) ?? []), operation]);
  }
  for (const [path, described] of paths) {
    const route = app.route(path.replaceAll(/\{\+(\w+)\}/g, '*$1').replaceAll(/\{(\w+)\}/g, ':$1'));
    for (const operation of described) route[operation.method](handlerOf(operation, admit));
    route.all(onlyMethods(...described.flatMap(({ method }) => allowed(method))));
  }
}

function allowed(method: Method): string[] {
  return method === 'get' ? ['GET', 'HEAD'] : [method.toUpperCase()];
}

function handlerOf(operation: Operation, admit: Admit | undefined): RequestHandler {
  const { access, params, query, body } = operation;
  if (access !== null && admit === undefined) throw new Error(`nobody is asked who calls ${operation.id}`);
  return async (request, response) => {
    const asked = access !== null && !(access.optional && request.get('authorization') === undefined);
    const caller = asked ? await admit?.(access.right, request, response) : undefined;
    const exchange = {
      caller,
      params: params && read(params, joined(request.params), 'invalid-parameter'),
      query: query && read(query, request.query, 'invalid-parameter'),
      body: undefined as unknown,
      bodyText: '',
      request,
      response,
    };
    if (body !== undefined && 'schema' in body) {
      const { value, text } = await readJson(request, body.maxBytes);
      exchange.body = read(body.schema, value, 'invalid-body');
      exchange.bodyText = text;
    }
    send(await operation.handle(exchange), request, response);
  };
}

/** Express has a parameter that may hold slashes as its segments. */
function joined(params: Request['params']): Record<string, string> {
  return Object.fromEntries(
    Object.entries(params).map(([name, value]) => [name, Array.isArray(value) ? value.join('/') : value]),
  );
}

/** @throws Problem with a JSON pointer (RFC 6901) for each fault; it names no value */
function read<S extends z.ZodType>(schema: S, value: unknown, slug: ProblemSlug): z.output<S> {
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  const errors = parsed.error.issues.map(({ path, code, message, ...issue }) => ({
    pointer: path.map((name) => `/${String(name).replaceAll('~', '~0').replaceAll('/', '~1')}`).join(''),
    detail: code === 'invalid_type' ? `must be ${a((issue as { expected: string }).expected)}` : message,
  }));
  const [first] = errors;
  const what = slug === 'invalid-parameter' ? first?.pointer.slice(1) : first?.pointer;
  throw new Problem(slug, `${what || 'The body'} ${first?.detail}.`, { errors });
}

function a(type: string): string {
  return `${/^[aeio]/.test(type) ? 'an' : 'a'} ${type}`;
}

function send(reply: Reply<Answers>, request: Request, response: Response): void {
  if (reply === 'sent') return;
  response.status(reply.status);
  if (reply.headers) response.set(reply.headers);
  const bytes = bytesOf(reply);
  if (bytes === undefined) {
    response.end();
    return;
  }
  if (reply.immutable) {
    // Asked for again each time, since what was erased must not be shown from a cache; but not sent again.
    const etag = `"${createHash('sha256').update(bytes).digest('base64url').slice(0, 27)}"`;
    response.set({ ETag: etag, 'Cache-Control': 'private, no-cache' });
    if (matches(request.get('if-none-match'), etag)) {
      response.status(304).end();
      return;
    }
  } else if (response.get('Cache-Control') === undefined) {
    response.set('Cache-Control', 'no-store');
  }
  if (response.get('Content-Type') === undefined) response.type('application/json');
  response.send(bytes);
}

function bytesOf(reply: { body?: unknown; bytes?: Buffer }): Buffer | undefined {
  return reply.bytes ?? (reply.body === undefined ? undefined : Buffer.from(JSON.stringify(reply.body)));
}

/**
 * RFC 9110 section 13.1.2. Express's own `fresh` sees no match where the request also says `Cache-Control: no-cache`, as fetch
 * makes every conditional request say.
 */
function matches(condition: string | undefined, etag: string): boolean {
  const given = condition?.split(',').map((one) => one.trim().replace(/^W\//, '')) ?? [];
  return given.includes(etag) || given.includes('*');
}
