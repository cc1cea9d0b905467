import { z } from 'zod';
import type { SignatureFaults } from './signature-faults.ts';

const everywhere = {
  /** Only this action (`Sign`); without it, every one. */
  action: z
    .string()
    .regex(/^[A-Za-z]+$/)
    .optional(),
  /** Only this key: its id or ARN, whatever the request calls it. */
  keyId: z.string().min(1).optional(),
  /** How often; without it, until cleared. */
  times: z.int().min(1).optional(),
};
const { action: _always, ...signOnly } = everywhere;

/** What can be switched on at `POST /_faults`; the README says what each one does. */
export const faultSchema = z.discriminatedUnion('fault', [
  z.strictObject({ fault: z.literal('throttle'), ...everywhere }),
  z.strictObject({
    fault: z.literal('server-error'),
    status: z.union([z.literal(500), z.literal(503)]).default(500),
    ...everywhere,
  }),
  z.strictObject({ fault: z.literal('delay'), ms: z.int().min(1).max(600_000), ...everywhere }),
  z.strictObject({ fault: z.literal('lose-answer'), ...everywhere }),
  z.strictObject({ fault: z.literal('other-key'), ...signOnly }),
  z.strictObject({ fault: z.literal('s-value'), s: z.enum(['high', 'low']), ...signOnly }),
  z.strictObject({
    fault: z.literal('malformed-signature'),
    form: z.enum(['truncated', 'trailing', 'negative-r', 'padded-r', 'zero-r', 'zero-s']),
    ...signOnly,
  }),
]);

export type FaultInput = z.input<typeof faultSchema>;
export type Fault = z.output<typeof faultSchema>;
type FaultName = Fault['fault'];

/** A request as faults and counters see it: `keyId` is the bare id, null when the request names no key that exists. */
export interface Target {
  readonly action: string;
  readonly keyId: string | null;
}

interface Switched {
  readonly fault: Fault;
  remaining: number;
}

function concerns(fault: Fault, target: Target): boolean {
  if ('action' in fault && fault.action !== undefined && fault.action !== target.action) return false;
  return fault.keyId === undefined || fault.keyId.split(':key/').at(-1) === target.keyId;
}

export interface FaultBoard {
  add(fault: Fault): void;
  clear(): void;
  /** What is still switched on, oldest first; `times` is what remains of it. */
  list(): Fault[];
  /** The oldest fault of this name that concerns the request; uses it up once. */
  take<N extends FaultName>(name: N, target: Target): Extract<Fault, { fault: N }> | undefined;
  /** The faults of one signature; uses them up once. */
  takeSignatureFaults(target: Target): SignatureFaults;
}

export function createFaultBoard(): FaultBoard {
  let switched: Switched[] = [];

  function take<N extends FaultName>(name: N, target: Target): Extract<Fault, { fault: N }> | undefined {
    const found = switched.find(({ fault }) => fault.fault === name && concerns(fault, target));
    if (found === undefined) return undefined;
    found.remaining -= 1;
    if (found.remaining === 0) switched = switched.filter((entry) => entry !== found);
    return found.fault as Extract<Fault, { fault: N }>;
  }

  return {
    add: (fault) => void switched.push({ fault, remaining: fault.times ?? Infinity }),
    clear: () => {
      switched = [];
    },
    list: () =>
      switched.map(({ fault, remaining }) => (remaining === Infinity ? fault : { ...fault, times: remaining })),
    take,
    takeSignatureFaults: (target) => ({
      otherKey: take('other-key', target) !== undefined,
      s: take('s-value', target)?.s ?? null,
      malformed: take('malformed-signature', target)?.form ?? null,
    }),
  };
}
