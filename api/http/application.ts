/** What every one of our Express applications has in common: its first and its last stops. */
import express, { type Express, type RequestHandler } from 'express';
import helmet, { type HelmetOptions } from 'helmet';
import type { Logger } from 'pino';
import { answerProblems, notFound } from './answer.ts';
import { logRequests, withRequestId } from './request-log.ts';

/** @param stops routers and handlers, in the order in which a request passes them */
export function createApplication(log: Logger, headers: HelmetOptions, stops: readonly RequestHandler[]): Express {
  const app = express();
  app.disable('x-powered-by');
  // No `trust proxy`: nothing here decides by the client's address. Query strings are flat.
  app.set('query parser', 'simple');
  app.use(helmet(headers), withRequestId, logRequests(log));
  for (const stop of stops) app.use(stop);
  app.use(notFound, answerProblems(log));
  return app;
}
