/**
 * Sends what is waiting in kiff.notice_deliveries. A delivery is taken for two minutes and settled when it was sent or not; whoever dies
 * between the two leaves it to the next one, so a notice comes at least once.
 */
import { createHash, randomBytes } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import type { Pool } from 'pg';
import type { Logger } from 'pino';
import type { Alert } from '../../activities/failures.ts';
import type { MailSender } from './mail.ts';
import { postWebhook } from './webhook.ts';
import { objectOf, subjectOf, textOf, type Links, type Notice, type NoticeKind } from './words.ts';

export interface DeliveryDependencies {
  /** The login kiff_notify. */
  pool: Pool;
  mail: MailSender;
  vetoOrigin: string;
  custodyOrigin: string;
  allowLoopback: boolean;
  log: Logger;
  alert: Alert;
}

interface Row {
  id: number;
  notice: number;
  tenant: string;
  migration: string | null;
  kind: NoticeKind;
  facts: Notice['facts'];
  made_at: Date;
  channel: 'email' | 'webhook';
  destination: string;
  webhook_secret: string | null;
  vetoable: boolean;
}

/** Taken at once: each has its own time-out, well within the time that they are taken for. */
const AT_ONCE = 16;
/** Between two looks when nothing is waiting. */
const LOOK_MS = 1_000;

/** One look. @returns how many were taken */
export async function deliverWaiting(deps: DeliveryDependencies): Promise<number> {
  const { rows } = await deps.pool.query<Row>('SELECT * FROM kiff.take_deliveries($1)', [AT_ONCE]);
  await Promise.all(rows.map((row) => deliver(deps, row)));
  return rows.length;
}

async function deliver(deps: DeliveryDependencies, row: Row): Promise<void> {
  const { pool, log, alert } = deps;
  const { id, notice, tenant, kind, channel } = row;
  const problem = await sent(deps, row, await linksOf(deps, row));
  const { rows } = await pool.query<{ given_up: boolean }>('SELECT kiff.settle_delivery($1, $2) AS given_up', [
    id,
    problem,
  ]);
  const facts = { notice, delivery: id, tenant, kind, channel };
  if (problem === null) log.info(facts, 'notice.sent');
  else log.warn({ ...facts, problem }, 'notice.not-sent');
  if (rows[0]?.given_up === true) alert('notice-undeliverable', { tenantId: tenant, notice, channel });
}

/** A fresh link for each try: the one before may have been seen by nobody, or by whoever should not. */
async function linksOf(
  { pool, vetoOrigin, custodyOrigin }: DeliveryDependencies,
  { id, migration, vetoable }: Row,
): Promise<Links> {
  const page = migration === null ? null : `${custodyOrigin}/migrations/${migration}`;
  if (!vetoable) return { veto: null, migration: page };
  const token = randomBytes(32);
  await pool.query('SELECT kiff.issue_veto_token($1, $2)', [id, createHash('sha256').update(token).digest()]);
  return { veto: `${vetoOrigin}/veto/${token.toString('base64url')}`, migration: page };
}

async function sent(
  { mail, allowLoopback, log }: DeliveryDependencies,
  row: Row,
  links: Links,
): Promise<string | null> {
  const { notice, tenant, migration, kind, facts, made_at: madeAt, channel, destination } = row;
  const told: Notice = { notice, tenant, migration, kind, facts, madeAt };
  if (channel === 'webhook') {
    const delivery = {
      url: destination,
      secret: row.webhook_secret ?? '',
      id: `notice_${row.id}`,
      body: JSON.stringify(objectOf(told, links)),
    };
    return postWebhook(delivery, allowLoopback, new Date());
  }
  try {
    const messageId = `<notice-${row.id}@${new URL(links.migration ?? 'https://kiff.invalid').hostname}>`;
    await mail.send({ to: destination, subject: subjectOf(told), text: textOf(told, links), messageId });
    return null;
  } catch (error) {
    // A mail server's words may quote the address.
    log.warn({ delivery: row.id, error: error instanceof Error ? error.name : typeof error }, 'mail.refused');
    return 'mail-refused';
  }
}

/** Looks until it is stopped; what is being sent then is finished. */
export function startDelivering(deps: DeliveryDependencies): { stop(): Promise<void> } {
  const stopping = new AbortController();
  const { signal } = stopping;
  const pause = (): Promise<void> => delay(LOOK_MS, undefined, { signal }).catch(() => undefined);
  const running = (async () => {
    while (!signal.aborted) {
      try {
        if ((await deliverWaiting(deps)) === 0) await pause();
      } catch (error) {
        deps.log.warn({ error: error instanceof Error ? error.name : typeof error }, 'notify.unavailable');
        await pause();
      }
    }
  })();
  return {
    async stop() {
      stopping.abort();
      await running;
    },
  };
}
