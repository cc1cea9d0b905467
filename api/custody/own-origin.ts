/** Pages of other origins can have a browser send requests here, with what it knows of its user: they are refused. */
import type { RequestHandler } from 'express';
import { Problem } from '../http/problems.ts';

/**
 * A request that a page makes carries that page's origin (RFC 6454 section 7). Programs send none.
 * @param origin this API's own
 */
export function ownOrigin(origin: string): RequestHandler {
  return (request, _response, next) => {
    const from = request.get('origin');
    if (from !== undefined && from !== origin) {
      throw new Problem('foreign-origin', 'Requests of pages are taken from this origin alone.');
    }
    next();
  };
}
