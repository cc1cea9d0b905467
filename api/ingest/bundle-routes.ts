/** /v1/bundle: the log, or some of its periods, as a file that anybody can verify; in pages, so that it can go on where it broke off. */
import { z } from 'zod';
import type { Registry } from '../../protocol/eip712.ts';
import { operation, replyBytes, type Operation } from '../http/operation.ts';
import { nextPage } from '../http/pages.ts';
import { Problem } from '../http/problems.ts';
import { wholeNumber } from '../http/shapes.ts';
import type { TenantPools } from '../http/tenant-pools.ts';
import { bundlePage, bundleSpan } from './bundle.ts';
import type { LogIdentities } from './log-identity.ts';
import { ofLog } from './logs-routes.ts';
import { readHandovers } from './successions.ts';

/** `uint24` on chain. */
const MAX_SEQ = 2 ** 24 - 1;

interface BundleDependencies {
  registry: Registry;
  pools: TenantPools;
  logIdentity: LogIdentities;
  /** Unix milliseconds. */
  now: () => number;
}

const bundleQuery = z.object({
  from: wholeNumber(0).optional().describe('Unix seconds in the first period; the first seal’s unless given'),
  to: wholeNumber(0)
    .optional()
    .describe(
      'Unix seconds in the last period; the last final seal’s unless given, or while none is final the last one’s',
    ),
  records: z
    .enum(['withheld', 'disclosed'])
    .default('withheld')
    .describe('Whether the records themselves are in it, as far as they were not erased'),
  seq: wholeNumber(1).optional().describe('Go on with this seal; the bundle’s beginning unless given'),
  leaf: wholeNumber(0).optional().describe('Go on with this entry of that seal, whose own line came before'),
  ...ofLog.shape,
});

export function bundleOperations({ pools, logIdentity, registry, now }: BundleDependencies): Operation[] {
  return [
    operation({
      id: 'getBundle',
      method: 'get',
      path: '/v1/bundle',
      tag: 'Verification',
      summary: 'The log as a file that can be verified (kiff.bundle/1).',
      description:
        'Every signed seal of the periods asked for, with its anchor, checkpoint and entries. It comes in pages: the bundle is their bodies, one behind the other, as the Link header leads from each to the next. kiff export writes it into a file, and kiff verify verifies that.',
      access: { right: 'read' },
      query: bundleQuery,
      answers: {
        200: {
          description: 'A page of lines.',
          type: 'application/x-ndjson',
          schema: z.looseObject({}),
          headers: { Link: 'rel="next", unless this is the last page.' },
        },
      },
      problems: ['not-found', 'log-damaged'],
      examples: { query: { records: 'withheld' } },
      async handle({ caller, query }) {
        const { log: ordinal, records, seq, leaf } = query;
        if (leaf !== undefined && seq === undefined) throw new Problem('invalid-parameter', 'leaf goes with seq.');
        const { page, span } = await pools.use(caller, async (pool) => {
          const log = await logIdentity.one(pool, caller.tenant, ordinal);
          const asked = await bundleSpan(pool, log, { from: query.from, to: query.to }, now());
          const cursor = seq === undefined ? undefined : { seq: Math.min(seq, MAX_SEQ), leaf: leaf ?? null };
          const order = { span: asked, cursor, bodies: records === 'disclosed' };
          return { page: await bundlePage(pool, log, registry, await readHandovers(pool, log), order), span: asked };
        });
        const next = page.next && {
          ...span,
          records,
          seq: page.next.seq,
          ...(page.next.leaf !== null && { leaf: page.next.leaf }),
          ...(ordinal !== undefined && { log: ordinal }),
        };
        const headers = { 'Content-Type': 'application/x-ndjson', ...nextPage('/v1/bundle', next) };
        return replyBytes(200, page.lines, { headers });
      },
    }),
  ];
}
