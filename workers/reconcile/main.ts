/**
 * The reconciler: `node dist/workers/reconcile/main.js`, a job to be run daily and after every change of a deployment. It changes
 * nothing. Exit code 0: everything is as this version makes it; 1: each difference is a line; 2: it could not look.
 */
import pg from 'pg';
import { createKms } from '../kms.ts';
import { rolesOf } from '../read-env.ts';
import { databaseDrift, keyDrift, sealingKeys, tenantsOf } from './drift.ts';
import { readReconcileEnv } from './env.ts';

async function main(): Promise<number> {
  const env = readReconcileEnv();
  const product = new pg.Client({ connectionString: env.PRODUCT_SUPERUSER_URL });
  const journal = new pg.Client({ connectionString: env.JOURNAL_SUPERUSER_URL });
  const kms = createKms();
  try {
    await Promise.all([product.connect(), journal.connect()]);
    const tenants = await tenantsOf(product);
    const keys = await keyDrift(kms, rolesOf(env), await sealingKeys(product));
    const drift = [...(await databaseDrift(product, journal)), ...keys];
    for (const line of drift) process.stdout.write(`${line}\n`);
    process.stdout.write(
      drift.length === 0
        ? `no drift: databases, roles, grants and keys of ${tenants.length} tenants are as they are made\n`
        : `${drift.length} differences\n`,
    );
    return drift.length === 0 ? 0 : 1;
  } finally {
    kms.destroy();
    await Promise.allSettled([product.end(), journal.end()]);
  }
}

try {
  process.exitCode = await main();
} catch (error) {
  process.stderr.write(`the reconciler could not look: ${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 2;
}
