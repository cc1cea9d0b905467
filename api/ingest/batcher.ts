/**
 * Group commit: requests of one tenant that arrive while earlier ones are being stored go to the database together, in one
 * call and one fsync. At most two calls per tenant are in flight in this process: one holds the log's head, one waits for it.
 * A tenant that takes more than its rate begins a call every so often and no sooner.
 */
import { Problem } from '../http/problems.ts';
import { isRefusedForData, type Accepted } from './accept.ts';
import type { RecordDraft } from './record.ts';

/** What one call may carry, and what may wait here in all before the answer is 503. */
export interface BatchLimits {
  inFlight: number;
  records: number;
  bytes: number;
  waitingBytes: number;
  /** Of one tenant: its share of what may wait, so that one with a slow log leaves room for all others. */
  tenantWaitingBytes: number;
  /** Between the beginnings of two calls of a tenant that takes more than its rate, in milliseconds. */
  pace: number;
}

export const BATCH_LIMITS: BatchLimits = {
  inFlight: 2,
  records: 1_000,
  bytes: 8 * 1024 * 1024,
  waitingBytes: 128 * 1024 * 1024,
  tenantWaitingBytes: 32 * 1024 * 1024,
  pace: 50,
};

/**
 * Whether this caller takes more than its rate for the moment (access/limits.ts). Every call ends with a sync of the log on disk, which
 * all tenants share: a flood's records go in fewer, larger calls, and its neighbours' syncs wait for fewer of its own.
 */
export type Hurries = (key: BatchKey) => boolean;

/** Whose records: the log, the login, and the key whose id goes into the entries. */
export interface BatchKey {
  tenant: string;
  loginVersion: number;
  keyId: string;
}

/** One batch of one key into the database; see accept.ts for what it throws. */
export type AcceptCall = (key: BatchKey, drafts: readonly RecordDraft[]) => Promise<Accepted[]>;

/** A record's fate, or why the database refused it, alone. */
export type BatchResult = Accepted | { refused: unknown };

export interface Batcher {
  /**
   * @param drafts of one request, at most `records` many and `bytes` long
   * @returns one result per draft, in order
   * @throws Problem overloaded when too much waits already; whatever the call threw when nothing could be stored
   */
  submit(key: BatchKey, drafts: readonly RecordDraft[]): Promise<BatchResult[]>;
}

/** The records of one request: they stay together. */
interface Unit {
  drafts: readonly RecordDraft[];
  bytes: number;
  resolve(results: BatchResult[]): void;
  reject(error: unknown): void;
}

/** A tenant's requests by API key, since one call carries one key id. Keys take turns. */
interface Queue {
  waiting: Map<string, { key: BatchKey; units: Unit[] }>;
  inFlight: number;
  /** When its last call began, by the monotonic clock. */
  began: number;
  /** It waits for its pace. */
  paced: boolean;
  /** It will be looked at whether it can be forgotten. */
  resting: boolean;
  /** In flight and waiting. */
  bytes: number;
}

const newQueue = (): Queue => ({
  waiting: new Map(),
  inFlight: 0,
  began: -Infinity,
  paced: false,
  resting: false,
  bytes: 0,
});

export function createBatcher(
  accept: AcceptCall,
  limits: BatchLimits = BATCH_LIMITS,
  hurries: Hurries = () => false,
): Batcher {
  const queues = new Map<string, Queue>();
  let waitingBytes = 0;

  function pump(tenant: string, queue: Queue): void {
    while (queue.inFlight < limits.inFlight && !queue.paced) {
      const [next] = queue.waiting.values();
      if (next === undefined) break;
      const early = queue.began + limits.pace - performance.now();
      if (early > 0 && hurries(next.key)) {
        queue.paced = true;
        setTimeout(() => {
          queue.paced = false;
          pump(tenant, queue);
        }, early);
        break;
      }
      const group = nextGroup(queue);
      if (group === undefined) break;
      queue.inFlight++;
      queue.began = performance.now();
      void store(group.key, group.units).finally(() => {
        queue.inFlight--;
        for (const unit of group.units) {
          waitingBytes -= unit.bytes;
          queue.bytes -= unit.bytes;
        }
        pump(tenant, queue);
      });
    }
    if (queue.inFlight === 0 && queue.waiting.size === 0) rest(tenant, queue);
  }

  /** Forgets a queue in which nothing waits, once its last call began so long ago that its pace is no question any more. */
  function rest(tenant: string, queue: Queue): void {
    if (queue.resting) return;
    queue.resting = true;
    setTimeout(() => {
      queue.resting = false;
      if (queue.inFlight > 0 || queue.waiting.size > 0) return;
      if (performance.now() - queue.began >= limits.pace) queues.delete(tenant);
      else rest(tenant, queue);
    }, limits.pace).unref();
  }

  /** As many requests of the key whose turn it is as fit into one call. */
  function nextGroup({ waiting }: Queue): { key: BatchKey; units: Unit[] } | undefined {
    for (const [name, { key, units }] of waiting) {
      let records = 0;
      let bytes = 0;
      const fits = (unit: Unit): boolean => {
        records += unit.drafts.length;
        bytes += unit.bytes;
        return records <= limits.records && bytes <= limits.bytes;
      };
      const past = units.findIndex((unit) => !fits(unit));
      const group = units.splice(0, past === -1 ? units.length : Math.max(1, past));
      waiting.delete(name);
      if (units.length > 0) waiting.set(name, { key, units });
      return { key, units: group };
    }
    return undefined;
  }

  /** Never rejects: every unit learns its own fate. */
  async function store(key: BatchKey, units: readonly Unit[]): Promise<void> {
    try {
      const results = await accept(
        key,
        units.flatMap((unit) => unit.drafts),
      );
      let at = 0;
      for (const unit of units) unit.resolve(results.slice(at, (at += unit.drafts.length)));
    } catch (error) {
      if (isRefusedForData(error)) {
        for (const unit of units) await storeOneByOne(key, unit);
      } else {
        for (const unit of units) unit.reject(error);
      }
    }
  }

  /** The refused call stored nothing, so each record gets its own: no neighbour suffers from a bad one. */
  async function storeOneByOne(key: BatchKey, unit: Unit): Promise<void> {
    const results: BatchResult[] = [];
    try {
      for (const draft of unit.drafts) results.push(await storeOne(key, draft));
      unit.resolve(results);
    } catch (error) {
      unit.reject(error);
    }
  }

  async function storeOne(key: BatchKey, draft: RecordDraft): Promise<BatchResult> {
    try {
      const [result] = await accept(key, [draft]);
      if (result === undefined) throw new Error('accept answered nothing');
      return result;
    } catch (error) {
      if (isRefusedForData(error)) return { refused: error };
      throw error;
    }
  }

  return {
    submit(key, drafts) {
      if (drafts.length === 0) return Promise.resolve([]);
      const bytes = drafts.reduce((sum, draft) => sum + draft.body.length, 0);
      const queue = queues.get(key.tenant) ?? newQueue();
      if (waitingBytes + bytes > limits.waitingBytes || queue.bytes + bytes > limits.tenantWaitingBytes) {
        return Promise.reject(new Problem('overloaded', 'Too many records are waiting; try again.', { retryAfter: 1 }));
      }
      waitingBytes += bytes;
      queue.bytes += bytes;
      queues.set(key.tenant, queue);
      return new Promise((resolve, reject) => {
        const name = `${key.keyId}:${key.loginVersion}`;
        const line = queue.waiting.get(name) ?? { key, units: [] };
        queue.waiting.set(name, line);
        line.units.push({ drafts, bytes, resolve, reject });
        pump(key.tenant, queue);
      });
    },
  };
}
