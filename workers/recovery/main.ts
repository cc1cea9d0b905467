/**
 * The operator's recovery: compares, and does the one thing that it is told to. It is started by hand (`npx kiff recover …`), ends
 * when it is done, and is the only program that can open a restored database, unfreeze a log or end one.
 */
import {
  Client,
  Connection,
  WorkflowFailedError,
  WorkflowIdConflictPolicy,
  WorkflowIdReusePolicy,
} from '@temporalio/client';
import { createPool } from '../../activities/database.ts';
import { readPeriodSeconds } from '../../activities/chain/registry.ts';
import { failureType } from '../../activities/failures.ts';
import { createDirectory } from '../../activities/recovery/directory.ts';
import { HistoryDoubted } from '../../activities/recovery/rebuild.ts';
import { createRecovery, Refused } from '../../activities/recovery/recover.ts';
import { createCustodyJournal } from '../../activities/signing/custody/journal.ts';
import { createJournal } from '../../activities/signing/journal.ts';
import type { endLog } from '../../workflows/endLog.ts';
import { endId, SEALING_QUEUE } from '../../workflows/ids.ts';
import { connectChain } from '../chain.ts';
import { requireDeployment } from '../deployment.ts';
import { EnvironmentError } from '../read-env.ts';
import { namespaceOf } from '../run.ts';
import { readArguments, Unusable, USAGE, type Wish } from './arguments.ts';
import { readRecoveryEnv } from './env.ts';
import { reportDeclared, reportEnded, reportRebuilt, reportStanding } from './report.ts';

type Env = ReturnType<typeof readRecoveryEnv>;

async function recover(wish: Wish & { json: boolean }, env: Env): Promise<number> {
  const registry = { chainId: env.CHAIN_ID, contract: env.CONTRACT };
  const chain = await connectChain(env.BASE_RPC_URL, env.CHAIN_ID);
  const periodSeconds = await readPeriodSeconds(chain, env.CONTRACT);
  await requireDeployment(env.DATABASE_URL, { ...registry, periodSeconds });
  const pool = createPool(asOwner(env.DATABASE_URL), 2);
  const journalPool = createPool(env.JOURNAL_URL, 2);
  const recovery = createRecovery({
    pool,
    productUrl: env.DATABASE_URL,
    journalPool,
    journal: createJournal(journalPool),
    custodyJournal: createCustodyJournal(journalPool),
    directory: createDirectory(pool),
    chain,
    registry,
    contract: env.CONTRACT,
    fromBlock: BigInt(env.FROM_BLOCK),
    periodSeconds,
    incarnation: env.KIFF_INCARNATION,
    signEnd: (log) => signEnd(env, log),
  });
  const print = (answer: unknown, text: string): void => {
    process.stdout.write(wish.json ? `${JSON.stringify(answer)}\n` : text);
  };
  try {
    switch (wish.kind) {
      case 'compare': {
        const standing = await recovery.compare(wish.origin);
        print(standing, reportStanding(standing, env.KIFF_INCARNATION));
        const same = standing.logs.every(({ differences }) => differences.length === 0);
        return same && standing.open.product && standing.open.journal ? 0 : 1;
      }
      case 'rebuild': {
        const rebuilt = await recovery.rebuild();
        print(rebuilt, reportRebuilt(rebuilt));
        return 0;
      }
      case 'declare': {
        const frozen = await recovery.declare();
        print(frozen, reportDeclared(frozen, env.KIFF_INCARNATION));
        return 0;
      }
      case 'resume': {
        const compared = await recovery.resume(wish.origin);
        print(compared, `${wish.origin} goes on.\n`);
        return 0;
      }
      case 'end': {
        const ended = await recovery.end(wish.origin, wish.reason);
        print(ended, reportEnded(ended));
        return 0;
      }
    }
  } finally {
    await Promise.all([pool.end(), journalPool.end()]);
  }
}

/** The login may become the owner, and here it is nothing else. */
function asOwner(databaseUrl: string): string {
  const url = new URL(databaseUrl);
  url.searchParams.set('options', '-c role=kiff_owner');
  return url.href;
}

/** Starts the workflow, or finds the one that an earlier try has started, and waits for what it comes to. */
async function signEnd({ temporal }: Env, { tenantId, ordinal }: { tenantId: string; ordinal: number }) {
  const connection = await Connection.connect(temporal.connectionOptions);
  try {
    const client = new Client({ connection, namespace: namespaceOf(temporal) });
    const handle = await client.workflow.start<typeof endLog>('endLog', {
      workflowId: endId(tenantId, ordinal),
      taskQueue: SEALING_QUEUE,
      args: [{ tenantId, ordinal }],
      workflowIdReusePolicy: WorkflowIdReusePolicy.ALLOW_DUPLICATE,
      workflowIdConflictPolicy: WorkflowIdConflictPolicy.USE_EXISTING,
      staticSummary: `End of log ${ordinal} of ${tenantId}`,
    });
    return await handle.result();
  } catch (error) {
    throw error instanceof WorkflowFailedError ? rootOf(error) : error;
  } finally {
    await connection.close();
  }
}

/** What an activity has refused with, which Temporal wraps twice. */
function rootOf(error: Error): Error {
  return error.cause instanceof Error ? rootOf(error.cause) : error;
}

async function main(args: readonly string[]): Promise<number> {
  if (args.includes('--help') || args.includes('-h')) {
    process.stdout.write(USAGE);
    return 0;
  }
  try {
    return await recover(readArguments(args), readRecoveryEnv());
  } catch (error) {
    const unusable = error instanceof Unusable || error instanceof EnvironmentError;
    const expected = unusable || error instanceof Refused || error instanceof HistoryDoubted || failureType(error);
    if (!expected) throw error;
    process.stderr.write(
      `kiff recover: ${(error as Error).message}\n${error instanceof Unusable ? 'See: kiff recover --help\n' : ''}`,
    );
    return unusable ? 2 : 1;
  }
}

process.exitCode = await main(process.argv.slice(2));
