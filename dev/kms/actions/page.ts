import { z } from 'zod';
import { KmsError } from '../errors.ts';

/** Members of a paged request; `most` is the action's own upper bound. */
export function pageInput(most: number) {
  return { Limit: z.int().min(1).max(most).optional(), Marker: z.string().min(1).max(1024).optional() };
}

interface Page<T> {
  readonly items: T[];
  readonly end: { Truncated: boolean; NextMarker?: string };
}

/** One page in the order of `nameOf`. The marker holds the last name given, so that a change in between neither repeats nor skips. */
export function page<T>(
  all: Iterable<T>,
  nameOf: (item: T) => string,
  { Limit, Marker }: { Limit?: number | undefined; Marker?: string | undefined },
  usual: number,
): Page<T> {
  const after = Marker === undefined ? '' : Buffer.from(Marker, 'base64url').toString();
  if (Marker !== undefined && Buffer.from(after).toString('base64url') !== Marker) {
    throw new KmsError('InvalidMarkerException', 'The marker is not valid.');
  }
  const rest = [...all].filter((item) => nameOf(item) > after).toSorted((a, b) => (nameOf(a) < nameOf(b) ? -1 : 1));
  const items = rest.slice(0, Limit ?? usual);
  const last = items.at(-1);
  const Truncated = items.length < rest.length;
  const more = Truncated && last !== undefined;
  return {
    items,
    end: { Truncated, ...(more ? { NextMarker: Buffer.from(nameOf(last)).toString('base64url') } : {}) },
  };
}
