/**
 * POST /webhooks/clerk: an organisation came or went, a membership changed. A delivery is acted on once, in one transaction
 * with the note that it was; what fails is delivered again by Clerk for about a day.
 */
import { verifyWebhook } from '@clerk/backend/webhooks';
import type { Request as ExpressRequest } from 'express';
import type { Pool } from 'pg';
import type { Logger } from 'pino';
import { z } from 'zod';
import { isUnavailable } from '../http/database.ts';
import { readBytes } from '../http/json-body.ts';
import { operation, reply, type Operation } from '../http/operation.ts';
import { Problem, unavailable } from '../http/problems.ts';
import { heardEvent, isHeard, type HeardEvent } from './events.ts';

/** Clerk's are a few kB; organisations may carry metadata. */
const MAX_BYTES = 256 * 1024;

export interface ClerkDependencies {
  /** The product database with the login kiff_webhooks. */
  directory: Pick<Pool, 'query'>;
  signingSecret: string;
  log: Logger;
}

const outcome = z.object({
  outcome: z
    .enum(['changed', 'unchanged', 'ignored'])
    .describe('unchanged: it came before, or something newer did; ignored: nothing here depends on such an event'),
});

export function clerkOperation({ directory, signingSecret, log }: ClerkDependencies): Operation {
  async function query(call: string, values: unknown[]): Promise<boolean> {
    const { rows } = await directory.query<{ changed: boolean }>(`SELECT ${call} AS changed`, values);
    return rows[0]?.changed === true;
  }

  /** @returns whether it changed anything */
  async function act(delivery: string, event: HeardEvent): Promise<boolean> {
    switch (event.type) {
      case 'organization.created':
        return query('kiff.organisation_created($1, $2) IS NOT NULL', [delivery, event.data.id]);
      case 'organization.deleted':
        return query('kiff.organisation_deleted($1, $2)', [delivery, event.data.id]);
      case 'organizationMembership.created':
      case 'organizationMembership.updated':
      case 'organizationMembership.deleted': {
        const { organization, public_user_data: user } = event.data;
        const kind = event.type.slice('organizationMembership.'.length);
        const at = new Date(event.timestamp);
        return query('kiff.membership_changed($1, $2, $3, $4, $5)', [
          delivery,
          organization.id,
          user.user_id,
          kind,
          at,
        ]);
      }
    }
  }

  return operation({
    id: 'hearClerk',
    method: 'post',
    path: '/webhooks/clerk',
    tag: 'Webhooks',
    summary: 'A delivery of Clerk’s, signed with the endpoint’s secret.',
    description: 'The headers svix-id, svix-timestamp (at most five minutes old) and svix-signature come with it.',
    access: null,
    body: { streamed: { 'application/json': { schema: heardEvent, description: 'An event.' } } },
    answers: { 200: { description: 'It was heard.', schema: outcome } },
    problems: ['invalid-signature', 'invalid-body', 'unavailable', 'recovering'],
    async handle({ request }) {
      const { delivery, type, event } = await verified(request, signingSecret);
      if (!isHeard(type)) {
        log.info({ type, outcome: 'ignored' }, 'webhook.heard');
        return reply(200, { outcome: 'ignored' as const });
      }
      const parsed = heardEvent.safeParse(event);
      // Signed, known and not of its form: Clerk changed it, and somebody has to look.
      if (!parsed.success) throw new Problem('invalid-body', `This "${type}" is not of the form that it had.`);
      try {
        const changed = await act(delivery, parsed.data);
        log.info({ type, outcome: changed ? 'changed' : 'unchanged' }, 'webhook.heard');
        return reply(200, { outcome: changed ? ('changed' as const) : ('unchanged' as const) });
      } catch (error) {
        throw isUnavailable(error) ? unavailable(error) : error;
      }
    },
  });
}

/** @throws Problem invalid-signature: also when it is older than five minutes, so that a recorded one cannot be used later */
async function verified(
  request: ExpressRequest,
  signingSecret: string,
): Promise<{ delivery: string; type: string; event: unknown }> {
  const body = await readBytes(request, MAX_BYTES);
  const headers = new Headers();
  for (const name of ['svix-id', 'svix-timestamp', 'svix-signature']) headers.set(name, request.get(name) ?? '');
  try {
    const signed = new Request('https://webhooks.invalid', { method: 'POST', headers, body });
    const event = await verifyWebhook(signed, { signingSecret });
    return { delivery: headers.get('svix-id') ?? '', type: event.type, event };
  } catch (error) {
    throw new Problem('invalid-signature', 'The delivery is not signed by Clerk, or too old.', { cause: error });
  }
}
