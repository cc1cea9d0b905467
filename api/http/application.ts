/** What every one of our Express applications has in common. */
import express, { type Express, type RequestHandler } from 'express';
import helmet, { type HelmetOptions } from 'helmet';
import type { Logger } from 'pino';
import { answerProblems, notFound } from './answer.ts';
import { mountOperations, type Admit } from './mount.ts';
import type { Operation } from './operation.ts';
import type { TrustProxy } from './read-env.ts';
import { logRequests, withRequestId } from './request-log.ts';
import { withServiceOperations, type ServiceDependencies } from './service-operations.ts';

export interface ApplicationDependencies extends ServiceDependencies {
  operations: readonly Operation[];
  /** Needed as soon as an operation asks who calls. */
  admit?: Admit;
  log: Logger;
  headers?: HelmetOptions;
  /** Nobody unless given (read-env.ts). */
  trustProxy?: TrustProxy;
  /** Passed by every request before it reaches an operation. */
  guards?: readonly RequestHandler[];
}

/** Cross-origin requests are closed: no answer carries a CORS header, and a preflight is a method that is not allowed. */
export function createApplication(dependencies: ApplicationDependencies): Express {
  const { operations, admit, log, headers = {}, guards = [], trustProxy = false, ...service } = dependencies;
  const app = express();
  app.disable('x-powered-by');
  app.set('trust proxy', trustProxy);
  // Query strings are flat. ETags are for what is final.
  app.set('query parser', 'simple');
  app.disable('etag');
  app.use(helmet(headers), withRequestId, logRequests(log), ...guards);
  mountOperations(app, withServiceOperations(service, operations), admit);
  app.use(notFound, answerProblems(log));
  return app;
}
