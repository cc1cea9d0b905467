/**
 * The open commands, taken one by one. A row is locked from the look at it until it is settled, so that two inboxes never
 * deal with one, and a dead one's is free at once.
 */
import type { Pool } from 'pg';
import { judgeCommand, type Ask, type CommandRow } from './judge.ts';

/** Starts what was asked for, under an id that follows from the command's: a second start of the same command is none. */
export type StartCommand = (commandId: number, ask: Ask) => Promise<void>;

/** What became of one look: nothing was open; a command was started, rejected, or put off because starting it failed. */
export type Taken =
  { outcome: 'nothing' } | { outcome: 'started' | 'rejected' | 'deferred'; commandId: number; error?: unknown };

/**
 * Deals with the oldest open command that nobody else holds.
 *
 * Crash boundaries: before the start, the row is unlocked and taken again. Between start and commit, it is taken again and
 * started again, which finds the first start. After the commit it is never looked at again.
 * @throws pg errors; the row is open then
 */
export async function takeCommand(pool: Pool, start: StartCommand): Promise<Taken> {
  const client = await pool.connect();
  let broken: Error | undefined;
  // The server may end it between two queries of ours (it held the row too long); unheard, that would end the process.
  const onError = (error: Error): void => void (broken = error);
  client.on('error', onError);
  try {
    await client.query('BEGIN');
    const { rows } = await client.query<CommandRow>(
      'SELECT id, issuer, tenant, kind, payload FROM kiff.take_command()',
    );
    const row = rows[0];
    if (row === undefined) {
      await client.query('ROLLBACK');
      return { outcome: 'nothing' };
    }
    const verdict = judgeCommand(row);
    if ('rejected' in verdict) {
      await client.query(`SELECT kiff.settle_command($1, 'rejected', $2)`, [row.id, verdict.rejected]);
      await client.query('COMMIT');
      return { outcome: 'rejected', commandId: row.id };
    }
    try {
      await start(row.id, verdict.ask);
    } catch (error) {
      // Nobody waits behind it: it is put off, a little longer every time.
      await client.query('ROLLBACK');
      await client.query('SELECT kiff.defer_command($1)', [row.id]);
      return { outcome: 'deferred', commandId: row.id, error };
    }
    await client.query(`SELECT kiff.settle_command($1, 'started', NULL)`, [row.id]);
    await client.query('COMMIT');
    return { outcome: 'started', commandId: row.id };
  } catch (error) {
    broken = error as Error;
    throw error;
  } finally {
    client.off('error', onError);
    // A connection that failed in the middle of this is not used again.
    client.release(broken);
  }
}
