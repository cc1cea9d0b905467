/** /v1/seals: the log's seals in order, and one of them. */
import { Router, type Request, type Response } from 'express';
import { onlyMethods } from '../http/answer.ts';
import { Problem } from '../http/problems.ts';
import type { Authenticate } from './authenticate.ts';
import type { LogIdentities } from './log-identity.ts';
import { findSeal, listSeals, sealView } from './seals.ts';
import type { TenantPools } from '../http/tenant-pools.ts';

const DEFAULT_PAGE = 100;
const MAX_PAGE = 1_000;
/** `uint24` on chain. */
const MAX_SEQ = 2 ** 24 - 1;

export interface SealsDependencies {
  authenticate: Authenticate;
  pools: TenantPools;
  logIdentity: LogIdentities;
}

export function sealsRoutes({ authenticate, pools, logIdentity }: SealsDependencies): Router {
  const router = Router();

  async function admit(request: Request, response: Response) {
    const caller = await authenticate(request.get('authorization'), 'read');
    response.locals['caller'] = caller;
    return caller;
  }

  router
    .route('/v1/seals')
    .get(async (request, response) => {
      const caller = await admit(request, response);
      const after = wholeNumber(request.query['after'] ?? '0', 'after', 0);
      const limit = wholeNumber(request.query['limit'] ?? String(DEFAULT_PAGE), 'limit', 1);
      if (limit > MAX_PAGE) throw new Problem('invalid-parameter', `limit must be at most ${MAX_PAGE}.`);

      const seals = await pools.use(caller, async (pool) => {
        const log = await logIdentity(pool, caller.tenant);
        const rows = await listSeals(pool, caller.tenant, { after: Math.min(after, MAX_SEQ), limit });
        return rows.map((row) => sealView(row, log));
      });
      // The cursor of the next page: null when this one was not full.
      response.json({ seals, next: seals.length === limit ? (seals.at(-1)?.seq ?? null) : null });
    })
    .all(onlyMethods('GET', 'HEAD'));

  router
    .route('/v1/seals/:seq')
    .get(async (request, response) => {
      const caller = await admit(request, response);
      const seq = wholeNumber(request.params.seq, 'seq', 1);
      const seal = await pools.use(caller, async (pool) => {
        const log = await logIdentity(pool, caller.tenant);
        const row = seq > MAX_SEQ ? undefined : await findSeal(pool, caller.tenant, seq);
        return row && sealView(row, log);
      });
      if (seal === undefined) throw new Problem('not-found', 'This log has no seal with that seq.');
      response.json(seal);
    })
    .all(onlyMethods('GET', 'HEAD'));

  return router;
}

/** A whole number in plain decimal digits, however large: what is too large is simply not there. */
function wholeNumber(text: unknown, name: string, least: 0 | 1): number {
  if (typeof text !== 'string' || !/^(?:0|[1-9]\d{0,39})$/.test(text) || Number(text) < least) {
    throw new Problem('invalid-parameter', `${name} must be a whole number from ${least} on, in decimal digits.`);
  }
  return Number(text);
}
