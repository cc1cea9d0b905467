import {
  CreateAliasCommand,
  DescribeKeyCommand,
  DisableKeyCommand,
  EnableKeyCommand,
  GetKeyPolicyCommand,
  GetPublicKeyCommand,
  ListAliasesCommand,
  ListResourceTagsCommand,
  ScheduleKeyDeletionCommand,
  SignCommand,
} from '@aws-sdk/client-kms';
import type { KMSClient } from '@aws-sdk/client-kms';
import assert from 'node:assert/strict';
import { chmod, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startKms } from '../../../dev/kms/server.ts';
import { createKey, opensslVerifies, principals, startHarness } from './harness.ts';
import type { Harness, TestKey } from './harness.ts';

const look = async (owner: KMSClient, KeyId: string) => ({
  metadata: (await owner.send(new DescribeKeyCommand({ KeyId }))).KeyMetadata,
  policy: (await owner.send(new GetKeyPolicyCommand({ KeyId }))).Policy,
  tags: (await owner.send(new ListResourceTagsCommand({ KeyId }))).Tags,
  aliases: (await owner.send(new ListAliasesCommand({ KeyId }))).Aliases,
});

describe('dev/kms state', () => {
  let directory: string;
  let stateFile: string;
  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'kiff-kms-'));
    stateFile = join(directory, 'kms', 'state.json');
  });
  afterEach(() => rm(directory, { recursive: true }));

  async function withKms<T>(work: (owner: KMSClient, harness: Harness) => Promise<T>): Promise<T> {
    const harness = await startHarness({ stateFile });
    try {
      return await work(harness.as('owner'), harness);
    } finally {
      await harness.stop();
    }
  }

  it('keys, states, policies, tags and aliases survive a restart, and the same key signs', async () => {
    const keys: TestKey[] = [];
    const before = await withKms(async (owner) => {
      for (const KeySpec of ['ECC_SECG_P256K1', 'ECC_NIST_EDWARDS25519', 'ECC_NIST_P256'] as const) {
        keys.push(
          await createKey(owner, { KeySpec, Description: KeySpec, Tags: [{ TagKey: 'spec', TagValue: KeySpec }] }),
        );
      }
      const [signing, edwards, doomed] = keys as [TestKey, TestKey, TestKey];
      await owner.send(new CreateAliasCommand({ AliasName: 'alias/kiff/acme', TargetKeyId: signing.id }));
      const { PublicKey } = await owner.send(new GetPublicKeyCommand({ KeyId: signing.id }));
      await owner.send(new DisableKeyCommand({ KeyId: edwards.id }));
      await owner.send(new ScheduleKeyDeletionCommand({ KeyId: doomed.id }));
      return { PublicKey, seen: await Promise.all(keys.map(({ id }) => look(owner, id))) };
    });
    const file = await readFile(stateFile, 'utf8');

    await withKms(async (owner) => {
      assert.deepEqual(await Promise.all(keys.map(({ id }) => look(owner, id))), before.seen);
      assert.deepEqual(
        before.seen.map(({ metadata }) => metadata?.KeyState),
        ['Enabled', 'Disabled', 'PendingDeletion'],
      );
      const Message = Buffer.from('after the restart');
      const { Signature } = await owner.send(
        new SignCommand({ KeyId: 'alias/kiff/acme', Message, SigningAlgorithm: 'ECDSA_SHA_256' }),
      );
      assert.ok(before.PublicKey !== undefined && Signature !== undefined);
      assert.ok(opensslVerifies(before.PublicKey, Message, Signature, 'sha256'));
      // A change writes the whole state again; once it is undone, the file is what it was, byte for byte.
      const [signing] = keys as [TestKey];
      await owner.send(new DisableKeyCommand({ KeyId: signing.id }));
      assert.notEqual(await readFile(stateFile, 'utf8'), file);
      await owner.send(new EnableKeyCommand({ KeyId: signing.id }));
      assert.equal(await readFile(stateFile, 'utf8'), file);
    });
  });

  it('the file is for its owner only, also one found open, and nothing else is left beside it', async () => {
    await withKms((owner) => createKey(owner));
    const mode = async () => (await stat(stateFile)).mode & 0o777;
    assert.equal(await mode(), 0o600);
    await chmod(stateFile, 0o644);
    await withKms(async () => assert.equal(await mode(), 0o600));
    assert.deepEqual(await readdir(join(directory, 'kms')), ['state.json']);
  });

  it('the answer comes after the file', async () => {
    await withKms(async (owner) => {
      const key = await createKey(owner);
      assert.ok((await readFile(stateFile, 'utf8')).includes(key.id));
    });
  });

  it('does not start on a file that it cannot read, and leaves it alone', async () => {
    await withKms((owner) => createKey(owner));
    for (const text of ['{', '{"version":2,"keys":[],"aliases":[]}', '{"version":1,"keys":[{}],"aliases":[]}']) {
      await writeFile(stateFile, text);
      await assert.rejects(startKms({ principals, stateFile }), /state file/);
      assert.equal(await readFile(stateFile, 'utf8'), text);
    }
  });

  it('without a file, nothing survives', async () => {
    const first = await startHarness();
    const key = await createKey(first.as('owner'));
    await first.stop();
    const second = await startHarness();
    await assert.rejects(second.as('owner').send(new DescribeKeyCommand({ KeyId: key.id })), {
      name: 'NotFoundException',
    });
    await second.stop();
  });
});
