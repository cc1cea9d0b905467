/**
 * Which deployment this is stands in three places: the process's environment, the database's row, and the contract. A process
 * that sees the contract compares them before it does anything; the contract is right about the period.
 */
import { createPool } from '../activities/database.ts';
import { toHex, type Hex } from '../protocol/hex.ts';

export interface Deployment {
  chainId: number;
  contract: Hex;
  /** As the contract has it. */
  periodSeconds: number;
}

/**
 * @param databaseUrl the product database, with any login
 * @throws Error that names every difference between the database's deployment and this process's; pg errors
 */
export async function requireDeployment(databaseUrl: string, ours: Deployment): Promise<void> {
  const pool = createPool(databaseUrl, 1);
  try {
    const { rows } = await pool.query<{ chain_id: number; contract: Buffer; period_seconds: number }>(
      'SELECT chain_id, contract, period_seconds FROM kiff.deployment',
    );
    const row = rows[0];
    if (row === undefined) throw new Error('the database has no deployment row: run the migration job first');
    const problems = [
      ['chain', row.chain_id, ours.chainId],
      ['contract', toHex(row.contract), ours.contract],
      ['period length in seconds', row.period_seconds, ours.periodSeconds],
    ].flatMap(([what, theirs, own]) => (theirs === own ? [] : `${what}: ${theirs} in the database, ${own} here`));
    if (problems.length > 0) throw new Error(`the database belongs to another deployment:\n${problems.join('\n')}`);
  } finally {
    await pool.end(); // an idle connection would keep a process alive that refuses to start
  }
}
