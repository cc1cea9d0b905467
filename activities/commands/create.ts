/** Activities that say what came of a command. */
import type { Pool } from 'pg';

export type CommandActivities = ReturnType<typeof createCommandActivities>;

export function createCommandActivities({ pool }: { pool: Pool }) {
  return {
    /** Writes a command's end where its issuer reads it. The first end stands. @param reason a fixed word, null when done */
    async finishCommand({ commandId, reason }: { commandId: number; reason: string | null }): Promise<void> {
      await pool.query('SELECT kiff.finish_command($1, $2, $3)', [
        commandId,
        reason === null ? 'done' : 'failed',
        reason,
      ]);
    },
  };
}
