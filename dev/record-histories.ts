/**
 * Records workflow histories for the replay tests: `node dist/dev/record-histories.js [STATE [NAME …]]` while the local stack runs.
 * One history of each kind (or of the named ones) goes to test/histories/. Record again when a workflow gets a step; keep the old ones as
 * long as workflows of that shape may still run somewhere.
 */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Client, Connection } from '@temporalio/client';
import { historyToJSON } from '@temporalio/common/lib/proto-utils.js';
import { packageRoot } from './root.ts';
import { readJson, stateDirectory } from './state.ts';

/** File name, and the query that finds the workflow to record (the newest that matches). */
const RECORDED = {
  'seal-final': `WorkflowType = 'seal' AND ExecutionStatus = 'Completed' AND \`Level\` = 'final'`,
  // Stop the signing worker for two periods (SIGSTOP) to get one.
  'seal-awaiting-signer': `WorkflowType = 'seal' AND ExecutionStatus = 'Completed' AND \`Level\` = 'awaiting-signer'`,
  'seal-hour': `WorkflowType = 'sealHour' AND ExecutionStatus = 'Completed'`,
  'anchor-wallet': `WorkflowType = 'anchorWallet'`,
  command: `WorkflowType = 'command' AND ExecutionStatus = 'Completed'`,
  'tenant-onboarding': `WorkflowType = 'tenantOnboarding' AND ExecutionStatus = 'Completed'`,
  // Stop the anchoring worker (SIGSTOP), create a tenant, cancel its onboarding.
  'tenant-onboarding-undone': `WorkflowType = 'tenantOnboarding' AND ExecutionStatus = 'Canceled'`,
  // `kiff recover --end kiff.dev/t/demo --reason signer-lost` (docs/recovery.md).
  'end-log': `WorkflowType = 'endLog' AND ExecutionStatus = 'Completed'`,
  // Two admins approve (or veto, for the second one) as test/workflows/custody.test.ts does; its stage runs the same workflows.
  'custody-migration': `WorkflowType = 'custodyMigration' AND ExecutionStatus = 'Completed'`,
  'custody-migration-undone': `WorkflowType = 'custodyMigration' AND ExecutionStatus = 'Failed'`,
  'retire-key': `WorkflowType = 'retireKey' AND ExecutionStatus = 'Completed'`,
} as const;

const [, , directory, ...names] = process.argv;
const state = stateDirectory(directory);
const dev = readJson(join(state, 'dev.json')) as { temporalAddress: string; temporalNamespace: string };
const connection = await Connection.connect({ address: dev.temporalAddress });
const client = new Client({ connection, namespace: dev.temporalNamespace });
try {
  for (const [name, query] of Object.entries(RECORDED)) {
    if (names.length > 0 && !names.includes(name)) continue;
    const found = await client.workflow.list({ query })[Symbol.asyncIterator]().next();
    if (found.done === true) throw new Error(`no workflow matches ${query}`);
    const { workflowId, runId } = found.value;
    const history = await client.workflow.getHandle(workflowId, runId).fetchHistory();
    writeFileSync(
      join(packageRoot, 'test/histories', `${name}.json`),
      `${JSON.stringify(JSON.parse(historyToJSON(history)), anonymous, 1)}\n`,
    );
    console.log(`${name}: ${workflowId}, ${history.events?.length ?? 0} events`);
  }
} finally {
  await connection.close();
}

/** Which process on which machine did it is nobody's business. */
function anonymous(name: string, value: unknown): unknown {
  // A worker's own queue is named after its identity.
  const ownQueue = name === 'name' && typeof value === 'string' && /^\d+@/.test(value);
  return name === 'identity' || ownQueue ? 'recorded' : value;
}
