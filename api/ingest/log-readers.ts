/**
 * Who may read a published log: the tenant itself, with its own login; and of a public log anybody, over connections of their
 * own, so that strangers take none of those that tenants and key lookups need. Nobody learns whether a log is there that is
 * not public.
 */
import type { Response } from 'express';
import type { Pool } from 'pg';
import type { Caller } from '../access/caller.ts';
import type { RateLimits } from '../access/limits.ts';
import { isUnavailable } from '../http/database.ts';
import { Problem, unavailable } from '../http/problems.ts';
import type { Queryable, TenantPools } from '../http/tenant-pools.ts';
import type { PublicLogs } from './public-logs.ts';
import type { LogName } from './published.ts';
import type { Refusals } from './refusals.ts';

export interface LogReadersDependencies {
  pools: TenantPools;
  /** The product database with the login kiff_api, for who has no right of its own. */
  strangers: Pick<Pool, 'query'>;
  publicLogs: PublicLogs;
  refusals: Refusals;
  limits: RateLimits;
}

export interface LogReaders {
  /**
   * Reads a log when it is the caller's turn.
   * @param caller nobody: without a credential
   * @returns what `work` found, and whether anybody may see it
   * @throws Problem unauthorized, not-found, rate-limited, overloaded, unavailable; whatever else `work` throws
   */
  read<T>(
    caller: Caller | undefined,
    log: LogName,
    response: Response,
    work: (db: Queryable) => Promise<T>,
  ): Promise<{ found: T; isPublic: boolean }>;
}

export function createLogReaders(dependencies: LogReadersDependencies): LogReaders {
  const { pools, strangers, publicLogs, refusals, limits } = dependencies;

  async function asStranger<T>(work: (db: Queryable) => Promise<T>): Promise<T> {
    try {
      return await work(strangers);
    } catch (error) {
      throw isUnavailable(error) ? unavailable(error) : error;
    }
  }

  return {
    async read(caller, log, response, work) {
      const isPublic = await publicLogs.has(log.tenant);
      if (caller?.tenant === log.tenant) {
        await limits.pace(log, 'own', response);
        return { found: await pools.use(caller, work), isPublic };
      }
      if (!isPublic) {
        if (caller !== undefined) throw await refusals.notFound(caller, 'log', `${log.tenant}/${log.ordinal}`);
        throw new Problem('unauthorized', 'Send "Authorization: Bearer" and an API key of this log; it is not public.');
      }
      await limits.pace(log, 'public', response);
      return { found: await asStranger(work), isPublic };
    },
  };
}
