import {
  CreateAliasCommand,
  DeleteAliasCommand,
  DescribeKeyCommand,
  ListAliasesCommand,
  ListResourceTagsCommand,
  TagResourceCommand,
  UpdateAliasCommand,
} from '@aws-sdk/client-kms';
import type { KMSClient } from '@aws-sdk/client-kms';
import assert from 'node:assert/strict';
import { account, createKey, refused, region, startHarness } from './harness.ts';
import type { Harness } from './harness.ts';

describe('dev/kms aliases and tags', () => {
  let harness: Harness;
  let owner: KMSClient;
  before(async () => {
    harness = await startHarness();
    owner = harness.as('owner');
  });
  after(() => harness.stop());

  const targetOf = async (alias: string) =>
    (await owner.send(new DescribeKeyCommand({ KeyId: alias }))).KeyMetadata?.KeyId;

  it('an alias is made, moved, listed and deleted', async () => {
    const [first, second] = [await createKey(owner), await createKey(owner)];
    const AliasName = 'alias/kiff/acme';
    await owner.send(new CreateAliasCommand({ AliasName, TargetKeyId: first.id }));
    assert.equal(await targetOf(AliasName), first.id);
    await refused(owner.send(new CreateAliasCommand({ AliasName, TargetKeyId: second.id })), 'AlreadyExistsException');
    assert.equal(await targetOf(AliasName), first.id);

    await owner.send(new UpdateAliasCommand({ AliasName, TargetKeyId: second.arn }));
    assert.equal(await targetOf(AliasName), second.id);
    const { Aliases } = await owner.send(new ListAliasesCommand({ KeyId: second.id }));
    assert.deepEqual(
      Aliases?.map(({ AliasName: name, AliasArn, TargetKeyId }) => [name, AliasArn, TargetKeyId]),
      [[AliasName, `arn:aws:kms:${region}:${account}:${AliasName}`, second.id]],
    );
    assert.ok(Aliases[0]?.CreationDate instanceof Date);
    assert.deepEqual((await owner.send(new ListAliasesCommand({ KeyId: first.id }))).Aliases, []);

    await owner.send(new DeleteAliasCommand({ AliasName }));
    await refused(targetOf(AliasName), 'NotFoundException');
    await refused(owner.send(new DeleteAliasCommand({ AliasName })), 'NotFoundException');
    await refused(owner.send(new UpdateAliasCommand({ AliasName, TargetKeyId: first.id })), 'NotFoundException');
  });

  it('refuses bad names and bad targets', async () => {
    const key = await createKey(owner);
    const create = (AliasName: string, TargetKeyId = key.id) =>
      owner.send(new CreateAliasCommand({ AliasName, TargetKeyId }));
    await refused(create('kiff/acme'), 'ValidationException', /prefix/);
    await refused(create('alias/aws/kms'), 'NotAuthorizedException');
    await refused(create('alias/a b'), 'InvalidAliasNameException');
    await refused(create('alias/x', 'alias/y'), 'NotFoundException', /Invalid keyId/);
    await refused(owner.send(new ListAliasesCommand({ KeyId: 'nobody' })), 'NotFoundException');
  });

  it('does not move an alias to a key of another usage', async () => {
    const [signing, symmetric] = [
      await createKey(owner),
      await createKey(owner, { KeySpec: 'SYMMETRIC_DEFAULT', KeyUsage: 'ENCRYPT_DECRYPT' }),
    ];
    await owner.send(new CreateAliasCommand({ AliasName: 'alias/typed', TargetKeyId: signing.id }));
    await refused(
      owner.send(new UpdateAliasCommand({ AliasName: 'alias/typed', TargetKeyId: symmetric.id })),
      'ValidationException',
    );
    assert.equal(await targetOf('alias/typed'), signing.id);
  });

  it('ListAliases pages', async () => {
    const key = await createKey(owner);
    for (const letter of ['a', 'b', 'c']) {
      await owner.send(new CreateAliasCommand({ AliasName: `alias/page/${letter}`, TargetKeyId: key.id }));
    }
    const first = await owner.send(new ListAliasesCommand({ KeyId: key.id, Limit: 2 }));
    assert.equal(first.Truncated, true);
    const rest = await owner.send(new ListAliasesCommand({ KeyId: key.id, Limit: 2, Marker: first.NextMarker }));
    assert.equal(rest.Truncated, false);
    const names = [...(first.Aliases ?? []), ...(rest.Aliases ?? [])].map(({ AliasName }) => AliasName);
    assert.deepEqual(names, ['alias/page/a', 'alias/page/b', 'alias/page/c']);
  });

  it('tags are added, changed and listed', async () => {
    const key = await createKey(owner, { Tags: [{ TagKey: 'tenant', TagValue: 'acme' }] });
    const tags = async () => (await owner.send(new ListResourceTagsCommand({ KeyId: key.id }))).Tags;
    assert.deepEqual(await tags(), [{ TagKey: 'tenant', TagValue: 'acme' }]);
    await owner.send(
      new TagResourceCommand({
        KeyId: key.id,
        Tags: [
          { TagKey: 'tenant', TagValue: 'other' },
          { TagKey: 'epoch', TagValue: '' },
        ],
      }),
    );
    assert.deepEqual(await tags(), [
      { TagKey: 'epoch', TagValue: '' },
      { TagKey: 'tenant', TagValue: 'other' },
    ]);
    const tag = (Tags: { TagKey: string; TagValue: string }[]) =>
      owner.send(new TagResourceCommand({ KeyId: key.id, Tags }));
    await refused(tag([{ TagKey: 'aws:x', TagValue: '' }]), 'TagException');
    const many = Array.from({ length: 49 }, (_, i) => ({ TagKey: `t${i}`, TagValue: '' }));
    await refused(tag(many), 'LimitExceededException');
    assert.equal((await tags())?.length, 2);
  });
});
