/**
 * Refusals that need no more of a request than its address and headers, answered before anything else is made of it. A caller
 * that floods is refused many times a second, and everybody who shares the process waits while that is done: Express, its
 * routes and an error that passes through all of them cost more than all the rest of a refusal (docs/performance.md).
 */
import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http';
import type { Logger } from 'pino';
import type { Caller } from '../access/caller.ts';
import type { Right } from '../access/rights.ts';
import { sendProblem } from './answer.ts';
import type { Operation } from './operation.ts';
import type { Problem } from './problems.ts';
import { logWhenAnswered, nameRequest } from './request-log.ts';

/**
 * Decides at once, and takes nothing from a caller whom it does not refuse: that one goes the long way and is judged there.
 * It may set headers of a refusal.
 */
export type RefuseEarly = (
  right: Right,
  request: IncomingMessage,
  response: ServerResponse,
) => { caller: Caller; problem: Problem } | undefined;

interface EarlyRefusals {
  operations: readonly Operation[];
  refuse: RefuseEarly;
  /** Headers that every answer has. */
  secure: (request: IncomingMessage, response: ServerResponse) => void;
  log: Logger;
}

/** Of operations whose address has no parameters; every other request goes to `handle`, as does what is not refused. */
export function refuseEarly(
  { operations, refuse, secure, log }: EarlyRefusals,
  handle: RequestListener,
): RequestListener {
  const routes = new Map<string, { path: string; right: Right }>();
  for (const { method, path, access } of operations) {
    if (access !== null && !path.includes('{')) {
      routes.set(`${method.toUpperCase()} ${path}`, { path, right: access.right });
    }
  }
  return (request, response) => {
    const route = routes.get(`${request.method} ${request.url}`);
    const refused = route && refuse(route.right, request, response);
    if (refused === undefined) {
      handle(request, response);
      return;
    }
    secure(request, response);
    const requestId = nameRequest(request, response);
    logWhenAnswered(log, request, response, () => ({ requestId, route: route?.path, caller: refused.caller }));
    sendProblem(refused.problem, requestId, response);
  };
}
