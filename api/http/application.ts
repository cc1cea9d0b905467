/** What every one of our Express applications has in common. */
import express, { type Express, type RequestHandler } from 'express';
import helmet, { type HelmetOptions } from 'helmet';
import type { Logger } from 'pino';
import { answerProblems, notFound } from './answer.ts';
import { mountOperations, type Admit } from './mount.ts';
import type { Operation } from './operation.ts';
import { logRequests, withRequestId } from './request-log.ts';
import { withServiceOperations, type ServiceDependencies } from './service-operations.ts';

export interface ApplicationDependencies extends ServiceDependencies {
  operations: readonly Operation[];
  /** Needed as soon as an operation asks who calls. */
  admit?: Admit;
  log: Logger;
  headers?: HelmetOptions;
  /** Passed by every request before it reaches an operation. */
  guards?: readonly RequestHandler[];
}

/** Cross-origin requests are closed: no answer carries a CORS header, and a preflight is a method that is not allowed. */
export function createApplication(dependencies: ApplicationDependencies): Express {
  const { operations, admit, log, headers = {}, guards = [], ...service } = dependencies;
  const app = express();
  app.disable('x-powered-by');
  // No `trust proxy`: nothing here decides by the client's address. Query strings are flat. ETags are for what is final.
  app.set('query parser', 'simple');
  app.disable('etag');
  app.use(helmet(headers), withRequestId, logRequests(log), ...guards);
  mountOperations(app, withServiceOperations(service, operations), admit);
  app.use(notFound, answerProblems(log));
  return app;
}
