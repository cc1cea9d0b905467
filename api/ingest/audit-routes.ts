/** /v1/audit: what was done to a tenant and in its name, in the order in which it happened (docs/audit-trail.md). */
import { z } from 'zod';
import { tenantSchema } from '../../sql/login.ts';
import { operation, reply, type Operation } from '../http/operation.ts';
import { nextPage, pageLimit } from '../http/pages.ts';
import { count, dateTime, wholeNumber } from '../http/shapes.ts';
import type { TenantPools } from '../http/tenant-pools.ts';

const auditEvent = z
  .object({
    id: count,
    at: dateTime,
    kind: z.string().describe('For example key.created; more kinds may come'),
    detail: z.record(z.string(), z.unknown()).meta({ additionalProperties: true }).describe('Depends on the kind'),
  })
  .meta({ id: 'AuditEvent' });

interface EventRow {
  id: number;
  at: Date;
  kind: string;
  detail: Record<string, unknown>;
}

export function auditOperations({ pools }: { pools: TenantPools }): Operation[] {
  return [
    operation({
      id: 'listAuditEvents',
      method: 'get',
      path: '/v1/audit',
      tag: 'Audit',
      summary: 'The internal audit trail, in the order in which it happened.',
      description:
        'Ids rise in the order of commits: who keeps the last id it has seen and goes on from there misses nothing.',
      access: { right: 'read-audit' },
      query: z.object({
        after: wholeNumber(0).default(0).describe('The id behind which the page begins'),
        limit: pageLimit,
      }),
      answers: {
        200: {
          description: 'A page of events.',
          schema: z.object({
            events: z.array(auditEvent),
            next: count.nullable().describe('`after` of the next page; null on the last'),
          }),
          headers: { Link: 'rel="next", unless this is the last page.' },
        },
      },
      examples: { query: { after: '0', limit: '10' } },
      async handle({ caller, query: { after, limit } }) {
        const events = await pools.use(caller, async (pool) => {
          const { rows } = await pool.query<EventRow>(
            `SELECT id, at, kind, detail FROM ${tenantSchema(caller.tenant)}.events WHERE id > $1 ORDER BY id LIMIT $2`,
            [Math.min(after, Number.MAX_SAFE_INTEGER), limit],
          );
          return rows.map((row) => ({ ...row, at: row.at.toISOString() }));
        });
        const next = events.length === limit ? (events.at(-1)?.id ?? null) : null;
        return reply(
          200,
          { events, next },
          { headers: nextPage('/v1/audit', next === null ? null : { after: next, limit }) },
        );
      },
    }),
  ];
}
