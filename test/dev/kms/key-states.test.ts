import {
  CancelKeyDeletionCommand,
  DescribeKeyCommand,
  DisableKeyCommand,
  EnableKeyCommand,
  GetKeyPolicyCommand,
  GetPublicKeyCommand,
  ListAliasesCommand,
  PutKeyPolicyCommand,
  ScheduleKeyDeletionCommand,
  SignCommand,
  TagResourceCommand,
  CreateAliasCommand,
} from '@aws-sdk/client-kms';
import type { KMSClient } from '@aws-sdk/client-kms';
import assert from 'node:assert/strict';
import { createKey, refused, startHarness } from './harness.ts';
import type { Harness } from './harness.ts';

describe('dev/kms key states', () => {
  let harness: Harness;
  let owner: KMSClient;
  // A clock that only the tests move; KMS and SDK both follow it.
  let clock = Date.UTC(2026, 10, 1);

  before(async () => {
    harness = await startHarness({ now: () => clock });
    owner = harness.as('owner', { systemClockOffset: clock - Date.now() });
  });
  after(() => harness.stop());

  const stateOf = async (id: string) => (await owner.send(new DescribeKeyCommand({ KeyId: id }))).KeyMetadata?.KeyState;
  const digest = new Uint8Array(32).fill(7);
  const sign = (id: string) =>
    owner.send(
      new SignCommand({ KeyId: id, Message: digest, MessageType: 'DIGEST', SigningAlgorithm: 'ECDSA_SHA_256' }),
    );

  it('a disabled key is described and administered, but neither signs nor shows its public key', async () => {
    const key = await createKey(owner);
    await owner.send(new DisableKeyCommand({ KeyId: key.id }));
    assert.equal(await stateOf(key.id), 'Disabled');
    await refused(sign(key.id), 'DisabledException', /is disabled/);
    await refused(owner.send(new GetPublicKeyCommand({ KeyId: key.id })), 'DisabledException', /is disabled/);
    await owner.send(new TagResourceCommand({ KeyId: key.id, Tags: [{ TagKey: 'a', TagValue: 'b' }] }));
    await owner.send(new EnableKeyCommand({ KeyId: key.id }));
    assert.equal(await stateOf(key.id), 'Enabled');
    assert.equal((await sign(key.id)).KeyId, key.arn);
  });

  it('a key pending deletion refuses everything but reading, its policy, and being saved', async () => {
    const key = await createKey(owner);
    const scheduled = await owner.send(new ScheduleKeyDeletionCommand({ KeyId: key.id, PendingWindowInDays: 7 }));
    assert.deepEqual(
      [scheduled.KeyId, scheduled.KeyState, scheduled.PendingWindowInDays, scheduled.DeletionDate],
      [key.arn, 'PendingDeletion', 7, new Date(clock + 7 * 86_400_000)],
    );
    const calls = [
      sign(key.id),
      owner.send(new GetPublicKeyCommand({ KeyId: key.id })),
      owner.send(new EnableKeyCommand({ KeyId: key.id })),
      owner.send(new DisableKeyCommand({ KeyId: key.id })),
      owner.send(new ScheduleKeyDeletionCommand({ KeyId: key.id })),
      owner.send(new TagResourceCommand({ KeyId: key.id, Tags: [] })),
      owner.send(new CreateAliasCommand({ AliasName: 'alias/late', TargetKeyId: key.id })),
    ];
    await Promise.all(calls.map((call) => refused(call, 'KMSInvalidStateException', /is pending deletion/)));
    const { Policy } = await owner.send(new GetKeyPolicyCommand({ KeyId: key.id }));
    await owner.send(new PutKeyPolicyCommand({ KeyId: key.id, Policy }));
    const { KeyMetadata } = await owner.send(new DescribeKeyCommand({ KeyId: key.id }));
    assert.equal(KeyMetadata?.Enabled, false);
    assert.deepEqual(KeyMetadata.DeletionDate, scheduled.DeletionDate);

    const cancelled = await owner.send(new CancelKeyDeletionCommand({ KeyId: key.id }));
    assert.equal(cancelled.KeyId, key.arn);
    assert.equal(await stateOf(key.id), 'Disabled');
    await refused(
      owner.send(new CancelKeyDeletionCommand({ KeyId: key.id })),
      'KMSInvalidStateException',
      /is not pending deletion/,
    );
  });

  it('a window outside 7 to 30 days is refused, 30 is usual', async () => {
    const key = await createKey(owner);
    for (const days of [6, 31]) {
      await refused(
        owner.send(new ScheduleKeyDeletionCommand({ KeyId: key.id, PendingWindowInDays: days })),
        'ValidationException',
      );
    }
    const { PendingWindowInDays } = await owner.send(new ScheduleKeyDeletionCommand({ KeyId: key.id }));
    assert.equal(PendingWindowInDays, 30);
  });

  it('after its window the key is gone, and so are its aliases', async () => {
    const key = await createKey(owner);
    await owner.send(new CreateAliasCommand({ AliasName: 'alias/doomed', TargetKeyId: key.id }));
    await owner.send(new ScheduleKeyDeletionCommand({ KeyId: key.id, PendingWindowInDays: 7 }));
    clock += 7 * 86_400_000 - 1000;
    owner = harness.as('owner', { systemClockOffset: clock - Date.now() });
    assert.equal(await stateOf('alias/doomed'), 'PendingDeletion');
    clock += 1000;
    await refused(owner.send(new DescribeKeyCommand({ KeyId: key.id })), 'NotFoundException', /does not exist/);
    const { Aliases } = await owner.send(new ListAliasesCommand({}));
    assert.deepEqual(
      Aliases?.filter((alias) => alias.AliasName === 'alias/doomed'),
      [],
    );
  });
});
