/** /v1/seals: the log's seals in order, and one of them. */
import { z } from 'zod';
import type { Registry } from '../../protocol/eip712.ts';
import { operation, reply, type Operation } from '../http/operation.ts';
import { nextPage, pageLimit } from '../http/pages.ts';
import { Problem } from '../http/problems.ts';
import { count, wholeNumber } from '../http/shapes.ts';
import type { LogIdentities } from './log-identity.ts';
import { ofLog } from './logs-routes.ts';
import { relayable, relayableSealShape } from './relay.ts';
import { findSeal, listSeals, sealShape, sealView, signingBlocked, signingShape } from './seals.ts';
import type { TenantPools } from '../http/tenant-pools.ts';

/** `uint24` on chain. */
const MAX_SEQ = 2 ** 24 - 1;

interface SealsDependencies {
  registry: Registry;
  pools: TenantPools;
  logIdentity: LogIdentities;
}

export function sealsOperations({ pools, logIdentity, registry }: SealsDependencies): Operation[] {
  return [
    operation({
      id: 'listSeals',
      method: 'get',
      path: '/v1/seals',
      tag: 'Seals',
      summary: 'The log’s seals in the order of seq.',
      access: { right: 'read' },
      query: z.object({
        after: wholeNumber(0).default(0).describe('The seq behind which the page begins'),
        limit: pageLimit,
        ...ofLog.shape,
      }),
      answers: {
        200: {
          description: 'A page of seals.',
          schema: z.object({
            seals: z.array(sealShape),
            signing: signingShape.nullable().describe('What keeps seals from being signed now; null when nothing does'),
            next: count.nullable().describe('`after` of the next page; null on the last'),
          }),
          headers: { Link: 'rel="next", unless this is the last page.' },
        },
      },
      problems: ['not-found'],
      examples: { query: { after: '100', limit: '10' } },
      async handle({ caller, query: { after, limit, log: ordinal } }) {
        const { seals, signing } = await pools.use(caller, async (pool) => {
          const log = await logIdentity.one(pool, caller.tenant, ordinal);
          const rows = await listSeals(pool, log.schema, { after: Math.min(after, MAX_SEQ), limit });
          return { seals: rows.map((row) => sealView(row, log)), signing: await signingBlocked(pool, caller.tenant) };
        });
        const next = seals.length === limit ? (seals.at(-1)?.seq ?? null) : null;
        const page = next === null ? null : { after: next, limit, ...(ordinal !== undefined && { log: ordinal }) };
        return reply(200, { seals, signing, next }, { headers: nextPage('/v1/seals', page) });
      },
    }),

    operation({
      id: 'getSeal',
      method: 'get',
      path: '/v1/seals/{seq}',
      tag: 'Seals',
      summary: 'One seal, ready to be relayed.',
      access: { right: 'read' },
      params: z.object({ seq: wholeNumber(1) }),
      query: ofLog,
      answers: {
        200: { description: 'The seal.', schema: relayableSealShape, headers: { ETag: 'Once the level is final.' } },
      },
      problems: ['not-found'],
      examples: { params: { seq: '1' } },
      async handle({ caller, params: { seq }, query }) {
        const seal = await pools.use(caller, async (pool) => {
          const log = await logIdentity.one(pool, caller.tenant, query.log);
          const row = seq > MAX_SEQ ? undefined : await findSeal(pool, log.schema, seq);
          return row && relayable(sealView(row, log), registry);
        });
        if (seal === undefined) throw new Problem('not-found', 'This log has no seal with that seq.');
        return reply(200, seal, { immutable: seal.level === 'final' });
      },
    }),
  ];
}
