/** Looks a session's organisation and user up in the directory, with a login that can ask for one pair at a time. */
import type { Pool } from 'pg';
import { isUnavailable } from '../http/database.ts';
import { unavailable } from '../http/problems.ts';
import type { MemberRow, SessionsDependencies } from './sessions.ts';

/** @throws (the function that it returns) Problem unavailable */
export function createFindMember(directory: Pick<Pool, 'query'>): SessionsDependencies['findMember'] {
  return async (organisation, userId) => {
    try {
      const { rows } = await directory.query<MemberRow>('SELECT * FROM kiff.find_member($1, $2)', [
        organisation,
        userId,
      ]);
      return rows[0];
    } catch (error) {
      throw isUnavailable(error) ? unavailable(error) : error;
    }
  };
}
