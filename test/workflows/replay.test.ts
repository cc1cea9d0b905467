/** F37: stored histories replay on today's workflows; one that was changed incompatibly is found, which the control shows. */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { DeterminismViolationError } from '@temporalio/workflow';
import { historyFromJSON } from '@temporalio/common/lib/proto-utils.js';
import { bundleWorkflowCode, DefaultLogger, Worker, type WorkflowBundleWithSourceMap } from '@temporalio/worker';
import { packageRoot } from '../../dev/root.ts';
import '../quiet-temporal.ts';

const folder = join(packageRoot, 'test/histories');
const names = readdirSync(folder).filter((name) => name.endsWith('.json'));

/** Read before it is replayed: a malformed history would leave the replaying worker behind. */
const history = (name: string) => historyFromJSON(JSON.parse(readFileSync(join(folder, name), 'utf8')) as object);

const bundle = (entry: string): Promise<WorkflowBundleWithSourceMap> =>
  bundleWorkflowCode({ workflowsPath: join(packageRoot, 'dist', entry), logger: new DefaultLogger('ERROR') });

describe('stored workflow histories', function () {
  this.timeout(60_000);

  it('are of every kind of workflow', () => {
    for (const kind of [
      'seal-final',
      'seal-awaiting-signer',
      'seal-hour',
      'anchor-wallet',
      'tenant-onboarding',
      'tenant-onboarding-undone',
      'command',
      'custody-migration',
      'custody-migration-undone',
      'retire-key',
      'end-log',
    ]) {
      assert.ok(names.includes(`${kind}.json`), `no history of ${kind}`);
    }
  });

  for (const name of names) {
    it(`${name} replays`, async () => {
      const codePath = join(packageRoot, 'dist/workflow-bundle.js');
      await Worker.runReplayHistory({ workflowBundle: { codePath } }, history(name));
    });
  }

  it('control: a seal that signs before it hashes does not replay', async () => {
    const workflowBundle = await bundle('test/workflows/broken/index.js');
    await assert.rejects(
      Worker.runReplayHistory({ workflowBundle }, history('seal-final.json')),
      DeterminismViolationError,
    );
  });
});
