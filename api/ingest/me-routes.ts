/** /v1/me: who the caller is, in the words that KIFF's clients read. */
import { z } from 'zod';
import { operation, reply, type Operation } from '../http/operation.ts';
import { count, dateTime } from '../http/shapes.ts';
import type { TenantPools } from '../http/tenant-pools.ts';
import { usageSums } from './usage.ts';

const me = z
  .object({
    subject: z.string().describe('The API key’s id, or the person’s'),
    tenant_id: z.string(),
    tenant_slug: z.string().describe('The same: a tenant has one name'),
  })
  .meta({ id: 'Me' });

const usage = z
  .object({
    plan: z.string().describe('There are no plans: empty'),
    monthly_proposal_limit: z.literal(0).describe('Proposals are a KIFF runtime’s: unlimited'),
    from: dateTime.describe('The first of the month, UTC'),
    to: dateTime.describe('Now'),
    counters: z.record(z.string(), count).describe('As in /v1/usage; names say which are approximate'),
  })
  .meta({ id: 'MyUsage' });

interface MeDependencies {
  pools: TenantPools;
  /** Unix milliseconds. */
  now: () => number;
}

export function meOperations({ pools, now }: MeDependencies): Operation[] {
  return [
    operation({
      id: 'getMe',
      method: 'get',
      path: '/v1/me',
      tag: 'Clients of KIFF',
      summary: 'Who asks.',
      access: { right: 'know-self' },
      answers: { 200: { description: 'You.', schema: me } },
      handle: async ({ caller: { by, tenant } }) => reply(200, { subject: by, tenant_id: tenant, tenant_slug: tenant }),
    }),

    operation({
      id: 'getMyUsage',
      method: 'get',
      path: '/v1/me/usage',
      tag: 'Clients of KIFF',
      summary: 'What the tenant has used since the month began.',
      access: { right: 'read' },
      answers: { 200: { description: 'The counters.', schema: usage } },
      async handle({ caller }) {
        const to = new Date(now());
        const from = new Date(Date.UTC(to.getUTCFullYear(), to.getUTCMonth()));
        const sums = await pools.use(caller, (pool) => usageSums(pool, caller.tenant, { from, to }));
        return reply(200, {
          plan: '',
          monthly_proposal_limit: 0 as const,
          from: from.toISOString(),
          to: to.toISOString(),
          counters: {
            records: sums.records,
            bytes: sums.bytes,
            duplicates: sums.duplicates,
            rejected_requests_approximate: sums.rejectedRequests,
            receipts_read_approximate: sums.receiptsRead,
          },
        });
      },
    }),
  ];
}
