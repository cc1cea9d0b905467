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
  name: 'tenant' | 'key' | 'tenant-records' | 'key-records';
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
}

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

function refusal(violated: readonly Policy[]): Problem {
  const said = violated.map(({ name, rate }) => {
    const [owner, what = 'requests'] = name.split('-');
    return `${rate.perSecond} ${what} per second for this ${owner}`;
  });
  return new Problem('rate-limited', `More than ${said.join(' and ')}; what comes after Retry-After is let in.`, {
    retryAfter: Math.max(...violated.map(({ bucket, rate }) => secondsUntilOne(bucket, rate))),
    // As the draft's own problem type has it.
    extensions: { 'violated-policies': violated.map(({ name }) => name) },
  });
}
