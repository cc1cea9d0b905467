/**
 * Rate limits: how many requests, and how many records, a tenant and each of its keys may send. One NDJSON body is one
 * request and up to a thousand records, so both are counted.
 *
 * Every process counts for itself: with n API processes behind a balancer a tenant gets up to n times its limit, which is
 * meant. Sharing the counts would put a call to somewhere in front of every request, to protect from what a process can
 * refuse by itself. No library is used for it: those at hand count one unit a request, or keep no debt and write no headers.
 *
 * Headers are those of draft-ietf-httpapi-ratelimit-headers-10: `RateLimit-Policy` names each limit with its quota `q` in a window
 * of `w` seconds, `RateLimit` says what is left of it (`r`) and when it is whole again (`t`).
 */
import type { ServerResponse } from 'node:http';
import { setTimeout as delay } from 'node:timers/promises';
import { Problem } from '../http/problems.ts';
import type { Caller } from './caller.ts';
import type { Right } from './rights.ts';
import { fill, secondsUntilFull, secondsUntilOne, type Bucket, type Rate } from './token-bucket.ts';

/** Per second; null: no limit. */
export interface Limits {
  requests: number | null;
  records: number | null;
}

/**
 * What was not used within so many seconds is not saved up. Long enough for an agent's burst of calls, and short enough that
 * a tenant that was silent and begins to flood takes little at once (`npm run bench:tenants`).
 */
const WINDOW_SECONDS = 2;

/** The share of what can be saved up below which somebody is in a hurry: whoever keeps to its rate, in small bursts too, is above. */
const AT_EASE = 0.9;

/** Buckets of callers that rest are full, and a full bucket need not be remembered. */
const SWEEP_AT = 10_000;

interface Policy {
  /** Its name in the headers. */
  name: 'tenant' | 'key' | 'tenant-records' | 'key-records' | 'tenant-log' | 'public-log' | 'public-logs';
  rate: Rate;
  bucket: Bucket;
}

export interface RateLimits {
  /**
   * Takes one request, if there is room for it (and, of what stores records, for one at least), and says so in the headers.
   * @throws Problem rate-limited; nothing is taken then
   */
  admit(caller: Caller, right: Right, response: ServerResponse): void;
  /** Takes nothing. @returns the Problem that `admit` would throw now, said in the headers too; undefined when there is none */
  refusal(caller: Caller, right: Right, response: ServerResponse): Problem | undefined;
  /** Whether it takes more than its rate for the moment, and so lives on what it had saved up. */
  hurries(of: { tenant: string; keyId: string }): boolean;
  /**
   * Takes records, before the answer has begun. A body that was let in is stored to its end: what it has too many is paid
   * back before the next one is let in.
   */
  charge(caller: Caller, records: number, response: ServerResponse): void;
  /**
   * Takes one read of a published log and waits until it is its turn, so that a tool that walks the log with nothing but
   * speed is slowed down and not refused. It takes nothing from what agents post and ask with.
   * @param reader the tenant itself, or somebody without a right of its own, for whom the log is public
   * @throws Problem rate-limited when the turn would come too late; nothing is taken then
   */
  pace(log: { tenant: string }, reader: 'own' | 'public', response: ServerResponse): Promise<void>;
}

/** Reads of a tenant's logs a second: by the tenant itself, by everybody else, and by everybody else of all public logs. */
const LOG_READS = 100;
const ALL_PUBLIC_READS = 200;

/** How long a read waits for its turn. */
const PATIENCE_SECONDS = 5;

/** @param now milliseconds, of a clock that does not go back */
export function createRateLimits(now: () => number): RateLimits {
  const buckets = new Map<string, { bucket: Bucket; rate: Rate }>();

  function policy(name: Policy['name'], owner: string, perSecond: number | null): Policy[] {
    if (perSecond === null) return [];
    const rate = { perSecond, windowSeconds: WINDOW_SECONDS };
    const bucket = fill(buckets.get(`${name} ${owner}`)?.bucket, rate, now());
    if (buckets.size >= SWEEP_AT) sweep();
    buckets.set(`${name} ${owner}`, { bucket, rate });
    return [{ name, rate, bucket }];
  }

  function sweep(): void {
    for (const [name, { bucket, rate }] of buckets) {
      const { tokens } = fill(bucket, rate, now());
      if (tokens >= rate.perSecond * rate.windowSeconds) buckets.delete(name);
    }
  }

  function policiesOf({ tenant, keyId, limits }: Caller, kind: keyof Limits): Policy[] {
    const suffix = kind === 'records' ? '-records' : '';
    return [
      ...policy(`tenant${suffix}`, tenant, limits.tenant[kind]),
      ...(keyId === undefined ? [] : policy(`key${suffix}`, keyId, limits.key[kind])),
    ];
  }

  function policiesFor(caller: Caller, right: Right): { requests: Policy[]; records: Policy[] } {
    // What `pace` counts is not counted here.
    if (right === 'read-log') return { requests: [], records: [] };
    const records = right === 'ingest' ? policiesOf(caller, 'records') : [];
    return { requests: policiesOf(caller, 'requests'), records };
  }

  return {
    admit(caller, right, response) {
      const { requests, records } = policiesFor(caller, right);
      const policies = [...requests, ...records];
      const violated = policies.filter(isSpent);
      if (violated.length === 0) for (const { bucket } of requests) bucket.tokens -= 1;
      say(policies, response);
      if (violated.length > 0) throw refusal(violated);
    },

    refusal(caller, right, response) {
      const { requests, records } = policiesFor(caller, right);
      const policies = [...requests, ...records];
      if (!policies.some(isSpent)) return undefined;
      say(policies, response);
      return refusal(policies.filter(isSpent));
    },

    hurries({ tenant, keyId }) {
      return [`tenant ${tenant}`, `key ${keyId}`].some((name) => {
        const known = buckets.get(name);
        if (known === undefined) return false;
        const { bucket, rate } = known;
        return fill(bucket, rate, now()).tokens < AT_EASE * rate.perSecond * rate.windowSeconds;
      });
    },

    charge(caller, taken, response) {
      const { requests, records } = policiesFor(caller, 'ingest');
      for (const { bucket } of records) bucket.tokens -= taken;
      const policies = [...requests, ...records];
      if (policies.length > 0) response.setHeader('RateLimit', policies.map(stateItem).join(', '));
    },

    async pace({ tenant }, reader, response) {
      const policies =
        reader === 'own'
          ? policy('tenant-log', tenant, LOG_READS)
          : [...policy('public-log', tenant, LOG_READS), ...policy('public-logs', 'all', ALL_PUBLIC_READS)];
      const seconds = Math.max(...policies.map(({ bucket, rate }) => (1 - bucket.tokens) / rate.perSecond));
      const late = seconds > PATIENCE_SECONDS;
      if (!late) for (const { bucket } of policies) bucket.tokens -= 1;
      response.setHeader('RateLimit-Policy', policies.map(policyItem).join(', '));
      response.setHeader('RateLimit', policies.map(stateItem).join(', '));
      if (late) {
        const longest = (each: Policy): boolean => (1 - each.bucket.tokens) / each.rate.perSecond >= seconds;
        throw refusal(policies.filter(longest));
      }
      if (seconds > 0) await delay(seconds * 1000);
    },
  };
}

const isSpent = ({ bucket }: Policy): boolean => bucket.tokens < 1;

function say(policies: readonly Policy[], response: ServerResponse): void {
  if (policies.length === 0) return;
  response.setHeader('RateLimit-Policy', policies.map(policyItem).join(', '));
  response.setHeader('RateLimit', policies.map(stateItem).join(', '));
}

function policyItem({ name, rate }: Policy): string {
  return `"${name}";q=${rate.perSecond * rate.windowSeconds};w=${rate.windowSeconds}`;
}

function stateItem({ name, rate, bucket }: Policy): string {
  return `"${name}";r=${Math.max(0, Math.floor(bucket.tokens))};t=${secondsUntilFull(bucket, rate)}`;
}

const COUNTED: Record<Policy['name'], string> = {
  tenant: 'requests per second for this tenant',
  key: 'requests per second for this key',
  'tenant-records': 'records per second for this tenant',
  'key-records': 'records per second for this key',
  'tenant-log': 'reads of the log per second for this tenant',
  'public-log': 'reads of this public log per second',
  'public-logs': 'reads of public logs per second',
};

function refusal(violated: readonly Policy[]): Problem {
  const said = violated.map(({ name, rate }) => `${rate.perSecond} ${COUNTED[name]}`);
  return new Problem('rate-limited', `More than ${said.join(' and ')}; what comes after Retry-After is let in.`, {
    retryAfter: Math.max(...violated.map(({ bucket, rate }) => secondsUntilOne(bucket, rate))),
    // As the draft's own problem type has it.
    extensions: { 'violated-policies': violated.map(({ name }) => name) },
  });
}
