/** /v1/usage: what the tenant has used, by the hour. */
import { z } from 'zod';
import { rfc3339Millis } from '../../protocol/rfc3339.ts';
import { operation, reply, type Operation } from '../http/operation.ts';
import { nextPage, pageLimit } from '../http/pages.ts';
import { Problem } from '../http/problems.ts';
import { count, dateTime } from '../http/shapes.ts';
import type { TenantPools } from '../http/tenant-pools.ts';
import { usageHours, usageSums } from './usage.ts';

const HOUR_MILLISECONDS = 3_600_000;
const HOURS_SHOWN = 24;

const counters = {
  records: count.describe('Records that were appended'),
  bytes: count.describe('Their bytes, as they came'),
  duplicates: count.describe('Records that stood there already'),
  rejectedRequests: count.describe('Requests that were answered with a 4xx; approximate'),
  receiptsRead: count.describe('Receipts that were handed out; approximate'),
};

const usage = z
  .object({
    from: dateTime,
    to: dateTime,
    hours: z.array(z.object({ hour: dateTime, ...counters })).describe('Hours in which anything was counted, in order'),
    totals: z.object(counters).describe('Of all hours from `from` to `to`, whatever page this is'),
    approximate: z.array(z.string()).describe('Counters that may miss some of the last seconds of a process that died'),
    next: dateTime.nullable().describe('`from` of the next page; null on the last'),
  })
  .meta({ id: 'Usage', description: 'Counters that are not called approximate are exact.' });

const APPROXIMATE = ['rejectedRequests', 'receiptsRead'];

interface UsageDependencies {
  pools: TenantPools;
  /** Unix milliseconds. */
  now: () => number;
}

export function usageOperations({ pools, now }: UsageDependencies): Operation[] {
  return [
    operation({
      id: 'getUsage',
      method: 'get',
      path: '/v1/usage',
      tag: 'Usage',
      summary: 'What the tenant has used, by the hour (UTC).',
      access: { right: 'read' },
      query: z.object({
        from: dateTime.optional().describe('Hours that begin here or later; unless given, 24 hours up to `to`'),
        to: dateTime.optional().describe('Hours that begin before; unless given, with the hour that is running'),
        limit: pageLimit,
      }),
      answers: {
        200: {
          description: 'A page of hours, and the sum of all.',
          schema: usage,
          headers: { Link: 'rel="next", unless this is the last page.' },
        },
      },
      examples: { query: { from: '2026-01-01T00:00:00Z', to: '2026-02-01T00:00:00Z', limit: '100' } },
      async handle({ caller, query }) {
        const to = new Date(millis(query.to) ?? now());
        const from = new Date(millis(query.from) ?? to.getTime() - HOURS_SHOWN * HOUR_MILLISECONDS);
        if (from >= to) throw new Problem('invalid-parameter', 'from must be before to.');
        const { limit } = query;
        const [hours, totals] = await pools.use(caller, async (pool) => [
          await usageHours(pool, caller.tenant, { from, to, limit }),
          await usageSums(pool, caller.tenant, { from, to }),
        ]);
        const last = hours.length === limit ? hours.at(-1)?.hour : undefined;
        const next = last === undefined ? null : new Date(last.getTime() + HOUR_MILLISECONDS).toISOString();
        const shown = hours.map(({ hour, ...counted }) => ({ hour: hour.toISOString(), ...counted }));
        const body = { from: from.toISOString(), to: to.toISOString(), hours: shown, totals };
        const more = next === null ? null : { from: next, to: body.to, limit };
        return reply(200, { ...body, approximate: APPROXIMATE, next }, { headers: nextPage('/v1/usage', more) });
      },
    }),
  ];
}

function millis(text: string | undefined): number | undefined {
  return text === undefined ? undefined : rfc3339Millis(text);
}
