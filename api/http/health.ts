/** /healthz: whether the process lives. /readyz: whether it can serve, which it cannot while it drains. */
import { Router } from 'express';
import { onlyMethods } from './answer.ts';
import { unavailable } from './problems.ts';

export interface HealthDependencies {
  /** True once no new work should come here. */
  isDraining: () => boolean;
  /** Rejects while the process cannot serve. */
  check: () => Promise<void>;
}

export function healthRoutes({ isDraining, check }: HealthDependencies): Router {
  const router = Router();
  router
    .route('/healthz')
    .get((_request, response) => {
      response.json({ status: 'ok' });
    })
    .all(onlyMethods('GET', 'HEAD'));
  router
    .route('/readyz')
    .get(async (_request, response) => {
      if (isDraining()) throw unavailable(new Error('draining'));
      await check().catch((error: unknown) => {
        throw unavailable(error);
      });
      response.json({ status: 'ready' });
    })
    .all(onlyMethods('GET', 'HEAD'));
  return router;
}
