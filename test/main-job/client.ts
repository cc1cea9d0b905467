/** What a tenant's agent does over HTTP, and waiting for what comes of it. */
import { setTimeout as delay } from 'node:timers/promises';
import type { LocalTenant } from '../../dev/tenant.ts';

export interface Accepted {
  id: string;
  status: string;
  level: string;
  leafIndex: number;
  leafHash: string;
  receivedAt: string;
  sealBy: number;
}

let count = 0;

/** A record with only what is required, and `extra`. */
export function auditRecord(extra: object = {}): { id: string } & Record<string, unknown> {
  return {
    id: `test:${process.pid}:${count++}`,
    kind: 'action_executed',
    entity_id: 'order-1',
    entity_type: 'order',
    created_at: new Date().toISOString(),
    ...extra,
  };
}

export async function post(apiUrl: string, tenant: LocalTenant, record: object): Promise<Accepted> {
  const response = await fetch(`${apiUrl}/v1/records`, {
    method: 'POST',
    headers: { authorization: `Bearer ${tenant.apiKey}`, 'content-type': 'application/json' },
    body: JSON.stringify(record),
  });
  const text = await response.text();
  if (!response.ok) throw new Error(`POST /v1/records: ${response.status} ${text}`);
  return JSON.parse(text) as Accepted;
}

export async function get(
  apiUrl: string,
  tenant: LocalTenant,
  path: string,
): Promise<{ status: number; body: unknown; text: string }> {
  const response = await fetch(`${apiUrl}${path}`, { headers: { authorization: `Bearer ${tenant.apiKey}` } });
  const text = await response.text();
  return { status: response.status, body: JSON.parse(text) as unknown, text };
}

/**
 * Asks until the answer is not undefined.
 * @param pauseMs between an answer and the next question
 * @throws Error that says what was waited for
 */
export async function until<T>(
  what: string,
  ask: () => Promise<T | undefined>,
  timeoutMs = 45_000,
  pauseMs = 100,
): Promise<T> {
  const deadline = performance.now() + timeoutMs;
  for (;;) {
    const answer = await ask();
    if (answer !== undefined) return answer;
    if (performance.now() > deadline) throw new Error(`waited ${timeoutMs / 1000} s in vain for ${what}`);
    await delay(pauseMs);
  }
}

/** Waits until a record has reached a level. */
export async function untilLevel(
  apiUrl: string,
  tenant: LocalTenant,
  id: string,
  level: string,
  timeoutMs?: number,
): Promise<void> {
  await until(
    `${id} to be ${level}`,
    async () => {
      const { body } = await get(apiUrl, tenant, `/v1/records/${encodeURIComponent(id)}`);
      return (body as { level: string }).level === level ? true : undefined;
    },
    timeoutMs,
  );
}
