/** Records as a KIFF agent leaves them: a refund desk's decisions, actions and state changes (the framework's audit.Record). */
import { randomUUID } from 'node:crypto';

interface AuditRecord {
  id: string;
  kind: string;
  entity_id: string;
  entity_type: string;
  actor_id: string;
  created_at: string;
  message: string;
  trace_id: string;
  data: Record<string, unknown>;
}

const STEPS = [
  ['event_ingested', 'customer asks for a refund'],
  ['decision_proposed', 'agent proposes a refund'],
  ['action_validated', 'refund is within the limit'],
  ['action_executed', 'refund was paid out'],
  ['state_changed', 'order is refunded'],
] as const;

/** `count` records, in the order in which an agent would post them. */
export function demoRecords(count: number, now: Date): AuditRecord[] {
  const run = randomUUID().slice(0, 8);
  return Array.from({ length: count }, (_, index) => {
    const order = Math.floor(index / STEPS.length) + 1;
    const [kind, message] = STEPS[index % STEPS.length] ?? STEPS[0];
    return {
      id: `demo:${run}:${String(index + 1).padStart(4, '0')}`,
      kind,
      entity_id: `order-${1000 + order}`,
      entity_type: 'order',
      actor_id: 'agent:refund-desk',
      created_at: now.toISOString(),
      message,
      trace_id: `trace-${run}-${order}`,
      data: { amount_cents: 1_000 + ((order * 37) % 9_000), currency: 'EUR', step: (index % STEPS.length) + 1 },
    };
  });
}
