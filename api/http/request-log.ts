/** What each request leaves in the log: one line of ids and times, never a body, an address or a token. */
import { randomUUID } from 'node:crypto';
import type { RequestHandler } from 'express';
import type { Logger } from 'pino';

/** Who asked, as far as the log is concerned; authentication puts it into `response.locals.caller`. */
interface LoggedCaller {
  tenant: string;
  keyId?: string | undefined;
  userId?: string | undefined;
}

/** A well-formed id from the caller is kept, so that one request can be followed through several systems. */
export const withRequestId: RequestHandler = (request, response, next) => {
  const given = request.get('x-request-id');
  const requestId = given !== undefined && /^[A-Za-z0-9._-]{1,64}$/.test(given) ? given : randomUUID();
  response.locals['requestId'] = requestId;
  response.set('X-Request-Id', requestId);
  next();
};

/** One line per request. The route's pattern, not its address: ids stay out of the log. */
export function logRequests(log: Logger): RequestHandler {
  return (request, response, next) => {
    const start = performance.now();
    response.on('close', () => {
      const caller = response.locals['caller'] as LoggedCaller | undefined;
      const route = request.route as { path: string } | undefined;
      log.info(
        {
          requestId: response.locals['requestId'],
          method: request.method,
          route: route?.path,
          status: response.writableFinished ? response.statusCode : 'aborted',
          milliseconds: Math.round(performance.now() - start),
          tenant: caller?.tenant,
          key: caller?.keyId,
          // Where attempts come from is for the operator to know; of everybody else it is nobody's business.
          address: response.statusCode === 401 ? request.ip : undefined,
          user: caller?.userId,
        },
        'http.request',
      );
    });
    next();
  };
}
