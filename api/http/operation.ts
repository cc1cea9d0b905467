/**
 * One operation of an API: its address, who may call it, what it takes, what it answers, and the handler. It is the only
 * way to get a route (mount.ts), and the OpenAPI document is made of the same objects (openapi.ts): what is not described
 * here cannot be called, and what is described is what validates.
 */
import type { Request, Response } from 'express';
import type { z } from 'zod';
import type { Caller, KeyCaller } from '../access/caller.ts';
import type { Right } from '../access/rights.ts';
import type { ProblemSlug } from './problems.ts';

/**
 * Who may call: whoever has the right (access/rights.ts), or with null anybody, unasked. `optional`: also without a
 * credential; one that is not good is refused all the same.
 */
export type Access = null | { right: Right; optional?: true };

/** Only keys post records. */
type CallerOf<A extends Access> = A extends { right: infer R }
  ? (R extends 'ingest' ? KeyCaller : Caller) | (A extends { optional: true } ? undefined : never)
  : undefined;

/** One kind of answer. */
export interface Answer {
  description: string;
  /** Absent: no body. */
  schema?: z.ZodType;
  /** `application/json` unless said otherwise. */
  type?: string;
  /** What one line is when the answer comes as NDJSON instead. */
  lines?: z.ZodType;
  /** Header → what it says. */
  headers?: Record<string, string>;
}

/** By status. Problems are not listed here but by their slugs. */
export type Answers = { readonly [status: number]: Answer };

/** What a handler gives back: one of the answers, made with `reply`; or `sent` when it wrote to the response itself. */
export type Reply<A extends Answers> =
  { [S in keyof A & number]: JsonReply<S, BodyOf<A[S]>> | BytesReply<S> }[keyof A & number] | 'sent';

type BodyOf<A extends Answer> = A extends { schema: infer S extends z.ZodType } ? z.input<S> : undefined;

interface ReplyExtras {
  headers?: Record<string, string> | undefined;
  /** These bytes will be the answer for good: they get a strong ETag, and a caller that has them a 304. */
  immutable?: boolean;
}

interface JsonReply<S extends number, T> extends ReplyExtras {
  status: S;
  body: T;
}

interface BytesReply<S extends number> extends ReplyExtras {
  status: S;
  bytes: Buffer;
}

/** A JSON answer; `undefined` is one without a body. */
export function reply<const S extends number, T>(status: S, body: T, extras: ReplyExtras = {}): JsonReply<S, T> {
  return { status, body, ...extras };
}

/** An answer whose bytes stand already; they are as its schema says. */
export function replyBytes<const S extends number>(status: S, bytes: Buffer, extras: ReplyExtras = {}): BytesReply<S> {
  return { status, bytes, ...extras };
}

/** A request as its operation's schemas read it. */
export interface Exchange<A extends Access, P, Q, B> {
  caller: CallerOf<A>;
  params: P;
  query: Q;
  body: B;
  /** The exact text of a JSON body that was read before the handler; otherwise empty. */
  bodyText: string;
  request: Request;
  response: Response;
}

/** A body that is read and validated before the handler runs. */
interface JsonBody {
  schema: z.ZodType;
  maxBytes: number;
}

/** A body that the handler reads from the request itself, and so validates with the schema itself. */
interface StreamedBody {
  /** Content type → what one document of it is (of NDJSON: one line), and how they come. */
  streamed: Record<string, { schema: z.ZodType; description: string }>;
}

/** Values that work: for readers, and for the test that sends all of them. */
interface Examples {
  params?: Record<string, string>;
  query?: Record<string, string>;
  bodies?: readonly BodyExample[];
}

/** A value is sent as JSON, a text as it stands. */
export type BodyExample = { summary: string; type: string } & ({ value: unknown } | { text: string });

export type Method = 'get' | 'post' | 'put' | 'patch' | 'delete';

/** What every operation says of itself. */
export interface OperationFacts {
  /** OpenAPI's operationId: unique, never renamed. */
  id: string;
  method: Method;
  /** With parameters in braces: `/v1/records/{id}`. One that may hold slashes has a plus (RFC 6570): `/t/{+log}/checkpoint`. */
  path: string;
  tag: string;
  summary: string;
  /** Markdown is not rendered: plain sentences. */
  description?: string;
  access: Access;
  params?: z.ZodObject;
  query?: z.ZodObject;
  body?: JsonBody | StreamedBody;
  answers: Answers;
  /** Beyond those that come with access, parameters, body and rate limits (openapi.ts). */
  problems?: readonly ProblemSlug[];
  examples?: Examples;
}

/** As it is mounted and described; its types were checked where it was defined. */
export interface Operation extends OperationFacts {
  handle(exchange: Exchange<Access, unknown, unknown, unknown>): Promise<Reply<Answers>>;
}

type Read<S> = S extends z.ZodType ? z.output<S> : undefined;
type ReadBody<B> = B extends { schema: infer S } ? Read<S> : undefined;

/** Defines an operation: the handler sees what the schemas read, and may answer only what `answers` describes. */
export function operation<
  const A extends Access,
  const R extends Answers,
  P extends z.ZodObject | undefined = undefined,
  Q extends z.ZodObject | undefined = undefined,
  B extends JsonBody | StreamedBody | undefined = undefined,
>(
  definition: Omit<OperationFacts, 'access' | 'params' | 'query' | 'body' | 'answers'> & {
    access: A;
    params?: P;
    query?: Q;
    body?: B;
    answers: R;
    handle(exchange: Exchange<A, Read<P>, Read<Q>, ReadBody<B>>): Promise<Reply<R>>;
  },
): Operation {
  return definition as unknown as Operation;
}
