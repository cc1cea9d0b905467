/** The last stops of a request: routes that do not exist, methods that are not allowed, and everything thrown. */
import type { ServerResponse } from 'node:http';
import type { ErrorRequestHandler, RequestHandler } from 'express';
import type { Logger } from 'pino';
import { errorFacts } from './log.ts';
import { Problem } from './problems.ts';

export const notFound: RequestHandler = () => {
  throw new Problem('not-found', 'There is nothing at this address.');
};

/** For every method of a route that its handlers left over. */
export function onlyMethods(...methods: string[]): RequestHandler {
  return (request, response) => {
    response.set('Allow', methods.join(', '));
    throw new Problem('method-not-allowed', `${request.method} is not allowed here; use ${methods.join(' or ')}.`);
  };
}

/** Express knows an error handler by its four parameters. */
export function answerProblems(log: Logger): ErrorRequestHandler {
  return (error, _request, response, next) => {
    const problem = problemOf(error);
    const requestId = response.locals['requestId'] as string;
    if (problem.status >= 500) {
      log.error({ requestId, problem: problem.slug, ...errorFacts(problem.cause ?? problem) }, 'http.problem');
    }
    if (response.headersSent) {
      // Too late to say it properly: a broken connection is better than an answer that looks whole.
      next(error);
      return;
    }
    sendProblem(problem, requestId, response);
  };
}

/** The whole answer that a problem is; nothing of the response may be on its way yet. */
export function sendProblem(problem: Problem, requestId: string, response: ServerResponse): void {
  if (problem.status === 401) response.setHeader('WWW-Authenticate', 'Bearer');
  for (const [name, value] of Object.entries(problem.headers)) response.setHeader(name, value);
  if (problem.retryAfter !== undefined) response.setHeader('Retry-After', String(problem.retryAfter));
  const text = JSON.stringify(problem.document(requestId));
  response.statusCode = problem.status;
  response.setHeader('Content-Type', 'application/problem+json; charset=utf-8');
  response.setHeader('Content-Length', Buffer.byteLength(text));
  response.end(text);
}

/** Express throws http-errors: their status is their contract, their texts are not. */
function problemOf(error: unknown): Problem {
  if (error instanceof Problem) return error;
  const { status } = error as { status?: unknown };
  if (typeof status === 'number' && status >= 400 && status < 500) {
    return new Problem('bad-request', 'The request is malformed.', { cause: error });
  }
  return new Problem('internal', 'Something went wrong here; it has been logged under this request id.', {
    cause: error,
  });
}
