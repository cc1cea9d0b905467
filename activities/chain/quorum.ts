/**
 * When several RPC endpoints count as one answer. Pure: who is asked, and how, stands in endpoints.ts.
 *
 * A quorum is a majority. So a lie needs a majority of liars, two quorums always share an endpoint, and with three endpoints one may be
 * down. Two endpoints watch each other and do not stand in for each other; one endpoint is believed as before.
 */
import { isDeepStrictEqual } from 'node:util';

/** How many of `endpoints` must give the same answer. */
export function quorumOf(endpoints: number): number {
  return Math.floor(endpoints / 2) + 1;
}

/** What a set of answers comes to. `undefined` stands for an endpoint that did not answer. */
export type Verdict<T> =
  | { kind: 'agreed'; answer: T }
  /** Positions of the endpoints that answered, grouped by what they said, the largest group first. */
  | { kind: 'disagreed'; groups: number[][] }
  | { kind: 'too-few'; answered: number };

/**
 * All that answered must have said the same, and a quorum must have answered. One that disagrees is never outvoted: it may be the only one
 * that sees the truth, and a signature cannot be taken back.
 */
export function judgeAnswers<T>(answers: readonly ({ value: T } | undefined)[]): Verdict<T> {
  const groups: { value: T; endpoints: number[] }[] = [];
  for (const [endpoint, answer] of answers.entries()) {
    if (answer === undefined) continue;
    const same = groups.find((group) => isDeepStrictEqual(group.value, answer.value));
    if (same === undefined) groups.push({ value: answer.value, endpoints: [endpoint] });
    else same.endpoints.push(endpoint);
  }
  const [first, ...others] = groups;
  if (first !== undefined && others.length > 0) {
    const bySize = groups.map((group) => group.endpoints).toSorted((a, b) => b.length - a.length);
    return { kind: 'disagreed', groups: bySize };
  }
  if (first === undefined || first.endpoints.length < quorumOf(answers.length)) {
    return { kind: 'too-few', answered: first?.endpoints.length ?? 0 };
  }
  return { kind: 'agreed', answer: first.value };
}

/**
 * The newest block that a quorum says it has: neither an endpoint that lags nor one that invents a height moves it alone.
 * @param heights one for each endpoint; undefined for one that did not answer
 * @returns undefined when fewer than a quorum answered
 */
export function newestCommonBlock(heights: readonly (bigint | undefined)[]): bigint | undefined {
  const known = heights.filter((height) => height !== undefined).toSorted((a, b) => (a > b ? -1 : a < b ? 1 : 0));
  return known[quorumOf(heights.length) - 1];
}
