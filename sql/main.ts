/**
 * The migration job: `node dist/sql/main.js`, configured by env.ts. It runs before a new version's processes start, and
 * ends with exit code 0, or with 1 and one message.
 */
import { readMigrationEnv } from './env.ts';
import { prepareDatabases } from './prepare.ts';

try {
  const { ran, tenants } = await prepareDatabases(readMigrationEnv());
  process.stdout.write(`databases are up to date: ${ran} migrations ran, ${tenants} tenants looked at\n`);
} catch (error) {
  const { message, cause } = error instanceof Error ? error : new Error(String(error));
  process.stderr.write(`${message}${cause instanceof Error ? `: ${cause.message}` : ''}\n`);
  process.exitCode = 1;
}
