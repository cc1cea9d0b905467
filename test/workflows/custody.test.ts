/** The saga of a custody migration on real parts: it ends wholly new or wholly old, whatever happens on its way. */
import assert from 'node:assert/strict';
import { DescribeKeyCommand, type KeyMetadata } from '@aws-sdk/client-kms';
import { custodyKeyAlias, keyAddress, tenantKeyAlias } from '../../activities/kms/keys.ts';
import { retireKeyId } from '../../workflows/ids.ts';
import { createStage, type Stage } from '../custody/stage.ts';

describe('a custody migration', function () {
  this.timeout(180_000);
  let stage: Stage;

  before(async function () {
    if (process.env['TEMPORAL_ADDRESS']) this.skip(); // then set-up provides no server of our own
    stage = await createStage();
  });
  after(() => stage?.stop());

  async function keyOf(id: string): Promise<KeyMetadata> {
    const { KeyMetadata } = await stage.plane.kmsAs('admin').send(new DescribeKeyCommand({ KeyId: id }));
    return KeyMetadata!;
  }

  const STEPS =
    'identify authorise snapshot register prove trial hand-over propose cooling-off accept final cut-over catch-up'.split(
      ' ',
    );

  it('C12: the tenant takes its key, and gives it back to a fresh one of ours', async () => {
    const company = await stage.company();
    const { tenant } = company;
    await company.sealed(1);
    const { arn } = await company.key();
    const first = await company.migrate({ custody: 2, keyArn: arn });
    assert.deepEqual(await company.people.answer(first), { state: 'done', reason: null });
    const tenantSigner = await keyAddress(stage.plane.kmsAs('signer'), arn);
    const onChain = await company.onChain();
    assert.equal(onChain.signer, tenantSigner);
    assert.equal(onChain.epoch, 1);
    assert.deepEqual(done(await company.steps(first)).slice(0, 14), [...STEPS, 'disable-old-key']);
    const old = await keyOf(tenantKeyAlias(tenant.id));
    assert.notEqual(old.KeyState, 'Enabled');
    await company.sealed(1);

    const second = await company.migrate({ custody: 1 });
    assert.deepEqual(await company.people.answer(second), { state: 'done', reason: null });
    const fresh = custodyKeyAlias(tenant.id, 1, 2);
    assert.deepEqual(await company.onChain().then(({ signer, epoch }) => ({ signer, epoch })), {
      signer: await keyAddress(stage.plane.kmsAs('signer'), fresh),
      epoch: 2,
    });
    // A tenant's own key is the tenant's.
    assert.deepEqual(done(await company.steps(second)), STEPS);
    await company.sealed(2);

    // The old key of ours was observed for no time here, and KMS deletes it.
    assert.deepEqual(await stage.temporal.client.workflow.getHandle(retireKeyId(tenant.id, 0)).result(), {
      deletedAt: (await keyOf(tenantKeyAlias(tenant.id))).DeletionDate!.toISOString(),
    });
  });
});

/** Steps that were done, in order. */
function done(steps: string[]): string[] {
  return steps.filter((at) => at.endsWith(' done')).map((at) => at.slice(0, -5));
}
