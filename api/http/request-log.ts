/** What each request leaves in the log: one line of ids and times, never a body, an address or a token. */
import { randomUUID } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { RequestHandler } from 'express';
import type { Logger } from 'pino';

/** Who asked, as far as the log is concerned; authentication puts it into `response.locals.caller`. */
interface LoggedCaller {
  tenant: string;
  keyId?: string | undefined;
  userId?: string | undefined;
}

/** A well-formed id from the caller is kept, so that one request can be followed through several systems. */
export function nameRequest(request: IncomingMessage, response: ServerResponse): string {
  const given = request.headers['x-request-id'];
  const requestId = typeof given === 'string' && /^[A-Za-z0-9._-]{1,64}$/.test(given) ? given : randomUUID();
  response.setHeader('X-Request-Id', requestId);
  return requestId;
}

export const withRequestId: RequestHandler = (request, response, next) => {
  response.locals['requestId'] = nameRequest(request, response);
  next();
};

interface LoggedFacts {
  requestId: string;
  /** The route's pattern, not its address: ids stay out of the log. */
  route: string | undefined;
  caller: LoggedCaller | undefined;
  /** Where attempts come from is for the operator to know; of everybody else it is nobody's business. */
  address?: string | undefined;
}

/** One line, once the answer has gone out or its connection is lost. @param facts is asked then */
export function logWhenAnswered(
  log: Logger,
  request: IncomingMessage,
  response: ServerResponse,
  facts: () => LoggedFacts,
): void {
  const start = performance.now();
  response.on('close', () => {
    const { requestId, route, caller, address } = facts();
    log.info(
      {
        requestId,
        method: request.method,
        route,
        status: response.writableFinished ? response.statusCode : 'aborted',
        milliseconds: Math.round(performance.now() - start),
        tenant: caller?.tenant,
        key: caller?.keyId,
        address,
        user: caller?.userId,
      },
      'http.request',
    );
  });
}

export function logRequests(log: Logger): RequestHandler {
  return (request, response, next) => {
    logWhenAnswered(log, request, response, () => ({
      requestId: response.locals['requestId'] as string,
      route: (request.route as { path: string } | undefined)?.path,
      caller: response.locals['caller'] as LoggedCaller | undefined,
      address: response.statusCode === 401 ? request.ip : undefined,
    }));
    next();
  };
}
