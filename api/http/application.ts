/** What every one of our Express applications has in common. */
import type { RequestListener } from 'node:http';
import express, { type RequestHandler } from 'express';
import helmet, { type HelmetOptions } from 'helmet';
import type { Logger } from 'pino';
import { answerProblems, notFound } from './answer.ts';
import { refuseEarly, type RefuseEarly } from './early-refusals.ts';
import { mountOperations, type Admit } from './mount.ts';
import type { Operation } from './operation.ts';
import type { TrustProxy } from './read-env.ts';
import { logRequests, withRequestId } from './request-log.ts';
import { withServiceOperations, type ServiceDependencies } from './service-operations.ts';

export interface ApplicationDependencies extends ServiceDependencies {
  operations: readonly Operation[];
  /** Needed as soon as an operation asks who calls. */
  admit?: Admit;
  /** Who is refused before anything is made of the request; nobody unless given. */
  refuse?: RefuseEarly;
  log: Logger;
  headers?: HelmetOptions;
  /** Nobody unless given (read-env.ts). */
  trustProxy?: TrustProxy;
  /** Passed by every request before it reaches an operation. */
  guards?: readonly RequestHandler[];
}

/** Cross-origin requests are closed: no answer carries a CORS header, and a preflight is a method that is not allowed. */
export function createApplication(dependencies: ApplicationDependencies): RequestListener {
  const { operations, admit, refuse, log, headers = {}, guards = [], trustProxy = false, ...service } = dependencies;
  const secure = helmet(headers);
  const app = express();
  app.disable('x-powered-by');
  app.set('trust proxy', trustProxy);
  // Query strings are flat. ETags are for what is final.
  app.set('query parser', 'simple');
  app.disable('etag');
  app.use(secure, withRequestId, logRequests(log), ...guards);
  mountOperations(app, withServiceOperations(service, operations), admit);
  app.use(notFound, answerProblems(log));
  if (refuse === undefined) return app;
  return refuseEarly({ operations, refuse, log, secure: (request, response) => secure(request, response, noop) }, app);
}

const noop = (): void => undefined;
