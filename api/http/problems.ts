/**
 * Every way in which our APIs say no: RFC 9457 problem documents with stable types. The body carries `error` too,
 * because KIFF's own clients read a string of that name from a non-2xx answer.
 */
import { z } from 'zod';

/** Slug → status and title. A slug is never renamed or given another meaning: clients decide by it. */
const PROBLEMS = {
  // 400: the bytes are not one JSON object that every reader understands alike.
  'empty-body': { status: 400, title: 'The body is empty' },
  'invalid-utf8': { status: 400, title: 'Not valid UTF-8' },
  'byte-order-mark': { status: 400, title: 'A byte order mark is not allowed' },
  'malformed-json': { status: 400, title: 'Not valid JSON' },
  'duplicate-key': { status: 400, title: 'An object has two members with the same name' },
  'lone-surrogate': { status: 400, title: 'Half of a surrogate pair' },
  'too-deep': { status: 400, title: 'Nested too deep' },
  'not-an-object': { status: 400, title: 'A record is one JSON object' },
  'malformed-encoding': { status: 400, title: 'The content encoding is broken' },
  'invalid-signature': { status: 400, title: 'The signature is not good' },
  'bad-request': { status: 400, title: 'The request cannot be read' },
  // 401, 403: who asks.
  unauthorized: { status: 401, title: 'A valid API key or session token is needed' },
  'missing-scope': { status: 403, title: 'This API key may not do that' },
  'missing-permission': { status: 403, title: 'Your role may not do that' },
  'no-organisation': { status: 403, title: 'No organisation is active in this session' },
  'not-a-member': { status: 403, title: 'Not a member of this organisation' },
  // 403, for acts that are asked for twice: what is missing is named, so that a console can ask for it.
  'second-factor-required': { status: 403, title: 'A second factor is needed' },
  'reverification-required': { status: 403, title: 'Both factors must be verified again' },
  impersonated: { status: 403, title: 'Not while acting as somebody else' },
  'tenant-ended': { status: 403, title: 'This log has ended' },
  'foreign-origin': { status: 403, title: 'Not from this page' },
  'not-found': { status: 404, title: 'Not found' },
  'method-not-allowed': { status: 405, title: 'Method not allowed' },
  // 409: the id is taken; the original stands.
  'id-conflict': { status: 409, title: 'Another record has this id' },
  'too-many-keys': { status: 409, title: 'Too many keys' },
  'too-many-links': { status: 409, title: 'Too many wallet links' },
  // 409, 422: what was asked of custody; the member "reason" says in a fixed word why not.
  'custody-conflict': { status: 409, title: 'Not now' },
  'custody-refused': { status: 422, title: 'Refused' },
  // 410: a request for a signature that nobody waits for any more.
  'request-closed': { status: 410, title: 'Nobody waits for this any more' },
  erased: { status: 409, title: 'The record with this id was erased' },
  // 413, 415: size and form of the body.
  'body-too-large': { status: 413, title: 'The body is too large' },
  'record-too-large': { status: 413, title: 'The record is too large' },
  'too-many-records': { status: 413, title: 'Too many records in one request' },
  'unsupported-media-type': { status: 415, title: 'Unsupported content type' },
  'unsupported-encoding': { status: 415, title: 'Unsupported content encoding' },
  // 422: readable, but not what is asked for.
  'invalid-record': { status: 422, title: 'The record is not valid' },
  'invalid-body': { status: 422, title: 'The body is not valid' },
  'invalid-wallet-proof': { status: 422, title: 'The wallet is not proved' },
  'invalid-parameter': { status: 422, title: 'A parameter is not valid' },
  'rate-limited': { status: 429, title: 'More than the limit allows' },
  // 501: an address that KIFF's clients know and this service does not serve.
  'not-offered': { status: 501, title: 'Not offered here' },
  // 5xx: ours. A 503 may be retried after the time in Retry-After; a record that was stored all the same is a duplicate then.
  internal: { status: 500, title: 'Internal error' },
  'log-damaged': { status: 500, title: 'The stored log does not prove itself' },
  unavailable: { status: 503, title: 'Temporarily unavailable' },
  overloaded: { status: 503, title: 'Too much at once' },
  recovering: { status: 503, title: 'Closed until a restored database has been compared' },
  'log-frozen': { status: 503, title: 'This log is frozen' },
  'tenant-not-ready': { status: 503, title: 'This tenant is not ready yet' },
} as const satisfies Record<string, { status: number; title: string }>;

export type ProblemSlug = keyof typeof PROBLEMS;
type ProblemType = `https://kiff.dev/problems/${ProblemSlug}`;

/** One fault inside a record: where (JSON pointer, RFC 6901) and what. It never repeats the value. */
export interface Fault {
  pointer: string;
  detail: string;
}

/** The document's members (RFC 9457 section 3.1), `error` for KIFF's clients, and the request's id for support. */
export interface ProblemDocument {
  type: ProblemType;
  title: string;
  status: number;
  detail: string;
  error: string;
  errors?: Fault[];
  requestId?: string;
  [extension: string]: unknown;
}

interface ProblemExtras {
  errors?: Fault[];
  /** Seconds; becomes the header Retry-After. */
  retryAfter?: number;
  /** Headers of the answer beyond that one. */
  headers?: Record<string, string>;
  /** More members of the document (RFC 9457 section 3.2). */
  extensions?: Record<string, unknown>;
  cause?: unknown;
}

export function problemStatus(slug: ProblemSlug): number {
  return PROBLEMS[slug].status;
}

function problemType(slug: ProblemSlug): ProblemType {
  return `https://kiff.dev/problems/${slug}`;
}

/** The document as readers of the API get it described; `type` is narrowed to those that an answer can have. */
export function problemShape(slugs: readonly [ProblemSlug, ...ProblemSlug[]]) {
  const limited = slugs.includes('rate-limited') && {
    'violated-policies': z.array(z.string()).describe('The limits that were exceeded, as RateLimit-Policy names them'),
  };
  const reasoned = slugs.some((slug) => slug === 'custody-conflict' || slug === 'custody-refused') && {
    reason: z.string().optional().describe('A fixed word: decide by it.'),
  };
  return z.object({
    ...limited,
    ...reasoned,
    type: z.enum(slugs.map(problemType) as [ProblemType, ...ProblemType[]]).describe('Stable: decide by it.'),
    title: z.string(),
    status: z.literal([...new Set(slugs.map(problemStatus))]),
    detail: z.string().describe('One sentence for a person; never stored content.'),
    error: z.string().describe('The same sentence, where clients of the KIFF framework look for it.'),
    errors: z
      .array(z.object({ pointer: z.string().describe('JSON pointer (RFC 6901)'), detail: z.string() }))
      .optional()
      .describe('Each fault with its place.'),
    requestId: z.string().optional(),
  });
}

/** Thrown anywhere on a request's way; the error handler turns it into the answer. */
export class Problem extends Error {
  override readonly name = 'Problem';
  readonly slug: ProblemSlug;
  readonly status: number;
  readonly errors: Fault[] | undefined;
  readonly retryAfter: number | undefined;
  readonly headers: Readonly<Record<string, string>>;
  readonly extensions: Readonly<Record<string, unknown>>;

  /** @param detail one sentence for the caller: no stored content, no secrets */
  constructor(
    slug: ProblemSlug,
    detail: string,
    { errors, retryAfter, headers = {}, extensions = {}, cause }: ProblemExtras = {},
  ) {
    super(detail, { cause });
    this.slug = slug;
    this.status = PROBLEMS[slug].status;
    this.errors = errors;
    this.retryAfter = retryAfter;
    this.headers = headers;
    this.extensions = extensions;
  }

  document(requestId?: string): ProblemDocument {
    return {
      ...this.extensions,
      type: problemType(this.slug),
      title: PROBLEMS[this.slug].title,
      status: this.status,
      detail: this.message,
      error: this.message,
      ...(this.errors && { errors: this.errors }),
      ...(requestId !== undefined && { requestId }),
    };
  }
}

/** The 503 for a database that is away or busy. Whether a write was committed is unknown: a retry finds out. */
export function unavailable(cause: unknown): Problem {
  return new Problem('unavailable', 'The log cannot be reached right now; try again.', { retryAfter: 1, cause });
}
