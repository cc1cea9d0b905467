import { secp256k1 } from '@noble/curves/secp256k1.js';
import { DescribeKeyCommand, GetPublicKeyCommand, ListKeysCommand, SignCommand } from '@aws-sdk/client-kms';
import type { KMSClient } from '@aws-sdk/client-kms';
import assert from 'node:assert/strict';
import { connectControl } from '../../../dev/kms/control.ts';
import type { FaultInput } from '../../../dev/kms/faults.ts';
import { createKey, opensslVerifies, principals, refused, startHarness } from './harness.ts';
import type { Harness, TestKey } from './harness.ts';

const parse = (bytes: Uint8Array) => secp256k1.Signature.fromBytes(bytes, 'der');

describe('dev/kms faults', () => {
  let harness: Harness;
  let owner: KMSClient;
  let key: TestKey;
  let otherKey: TestKey;
  before(async () => {
    harness = await startHarness();
    owner = harness.as('owner');
    [key, otherKey] = [await createKey(owner), await createKey(owner)];
  });
  afterEach(async () => {
    await harness.control.clearFaults();
    await harness.control.resetCalls();
  });
  after(() => harness.stop());

  const ask = (token?: string, path = '/_faults', method = 'GET') =>
    fetch(`${harness.kms.url}${path}`, {
      method,
      ...(token === undefined ? {} : { headers: { authorization: `Bearer ${token}` } }),
    });
  const inject = (...faults: FaultInput[]) => harness.control.inject(...faults);
  async function sign(client = owner, KeyId = key.id): Promise<Uint8Array> {
    const { Signature } = await client.send(
      new SignCommand({ KeyId, Message: new Uint8Array(32), MessageType: 'DIGEST', SigningAlgorithm: 'ECDSA_SHA_256' }),
    );
    assert.ok(Signature !== undefined);
    return Signature;
  }

  it('throttles the next n calls, and then no more', async () => {
    await inject({ fault: 'throttle', times: 2 });
    await refused(sign(), 'ThrottlingException', /Rate exceeded/);
    assert.deepEqual(await harness.control.faults(), [{ fault: 'throttle', times: 1 }]);
    await refused(sign(), 'ThrottlingException');
    await sign();
    assert.equal(await harness.control.count({ action: 'Sign', outcome: 'ThrottlingException' }), 2);
    assert.equal(await harness.control.count({ action: 'Sign', outcome: 'ok' }), 1);
  });

  it('the SDK retries a throttled call by itself', async () => {
    await inject({ fault: 'throttle', times: 1 });
    await sign(harness.as('owner', { maxAttempts: 2 }));
    assert.equal(await harness.control.count({ action: 'Sign' }), 2);
  });

  it('answers 5xx', async () => {
    await inject({ fault: 'server-error', times: 1 }, { fault: 'server-error', status: 503, times: 1 });
    await refused(sign(), 'KMSInternalException', /^/, 500);
    await refused(sign(), 'ServiceUnavailableException', /^/, 503);
    await sign();
  });

  it('keeps to the action and the key it was given, by id or ARN, through an alias too', async () => {
    await inject({ fault: 'throttle', action: 'Sign', keyId: key.arn });
    await sign(owner, otherKey.id);
    await owner.send(new DescribeKeyCommand({ KeyId: key.id }));
    await refused(sign(), 'ThrottlingException');
    await refused(sign(owner, key.arn), 'ThrottlingException');
    await harness.control.clearFaults();
    await sign();
  });

  it('delays: the call is under way until the time is over', async () => {
    await inject({ fault: 'delay', ms: 600_000, times: 1 });
    const abort = new AbortController();
    const delayed = owner.send(new ListKeysCommand({}), { abortSignal: abort.signal });
    // The delay is used up once the call has reached it; a second call is answered at once, past the first.
    while ((await harness.control.faults()).length > 0);
    await owner.send(new ListKeysCommand({}));
    assert.equal(await harness.control.count({ action: 'ListKeys' }), 1);
    abort.abort();
    await assert.rejects(delayed, { name: 'AbortError' });
    await inject({ fault: 'delay', ms: 1, times: 1 });
    await owner.send(new ListKeysCommand({}));
  });

  it('signs and loses the answer; the SDK, if it may, signs again', async () => {
    await inject({ fault: 'lose-answer', action: 'Sign', times: 1 });
    await assert.rejects(sign(), (error: Error & { $response?: unknown }) => error.$response === undefined);
    assert.equal(await harness.control.count({ action: 'Sign', keyId: key.id, outcome: 'ok' }), 1);
    await inject({ fault: 'lose-answer', action: 'Sign', times: 1 });
    await sign(harness.as('owner', { maxAttempts: 2 }));
    assert.equal(await harness.control.count({ action: 'Sign', keyId: key.id, outcome: 'ok' }), 3);
  });

  it('an answer is only lost where there was one: a refusal does not use the fault up', async () => {
    await inject({ fault: 'lose-answer', times: 1 });
    await refused(sign(harness.as('stranger')), 'AccessDeniedException');
    assert.equal((await harness.control.faults()).length, 1);
  });

  describe('of signatures', () => {
    const message = new Uint8Array(32);
    async function valid(bytes: Uint8Array): Promise<boolean> {
      const { PublicKey } = await owner.send(new GetPublicKeyCommand({ KeyId: key.id }));
      assert.ok(PublicKey !== undefined);
      const point = PublicKey.subarray(-65);
      return secp256k1.verify(bytes, message, point, { prehash: false, lowS: false, format: 'der' });
    }

    it('s always high, or never', async () => {
      await inject({ fault: 's-value', s: 'high' });
      const high = await Promise.all(Array.from({ length: 20 }, () => sign()));
      assert.ok(high.every((bytes) => parse(bytes).hasHighS()));
      await harness.control.clearFaults();
      await inject({ fault: 's-value', s: 'low' });
      const low = await Promise.all(Array.from({ length: 20 }, () => sign()));
      assert.ok(low.every((bytes) => !parse(bytes).hasHighS()));
      for (const bytes of [...high, ...low]) {
        assert.ok(await valid(bytes));
      }
    });

    it('another key’s signature: well formed, and not this key’s', async () => {
      await inject({ fault: 'other-key', times: 1 });
      const foreign = await sign();
      assert.ok(parse(foreign).r > 0n);
      assert.equal(await valid(foreign), false);
      assert.equal(await valid(await sign()), true);
      const edwards = await createKey(owner, { KeySpec: 'ECC_NIST_EDWARDS25519' });
      const { PublicKey } = await owner.send(new GetPublicKeyCommand({ KeyId: edwards.id }));
      const signRaw = async () => {
        const { Signature } = await owner.send(
          new SignCommand({ KeyId: edwards.id, Message: message, SigningAlgorithm: 'ED25519_SHA_512' }),
        );
        assert.ok(PublicKey !== undefined && Signature !== undefined);
        return opensslVerifies(PublicKey, message, Signature, null);
      };
      await inject({ fault: 'other-key', keyId: edwards.id, times: 1 });
      assert.equal(await signRaw(), false);
      assert.equal(await signRaw(), true);
    });

    for (const form of ['truncated', 'trailing', 'negative-r', 'padded-r'] as const) {
      it(`malformed DER: ${form}`, async () => {
        await inject({ fault: 'malformed-signature', form, times: 1 });
        const bytes = await sign();
        assert.equal(bytes[0], 0x30);
        assert.throws(() => parse(bytes));
        assert.equal(await valid(await sign()), true);
      });
    }

    for (const form of ['zero-r', 'zero-s'] as const) {
      it(`well-formed DER of no signature: ${form}`, async () => {
        await inject({ fault: 'malformed-signature', form, times: 1 });
        assert.equal(await valid(await sign()), false);
        assert.equal(await valid(await sign()), true);
      });
    }
  });

  describe('control paths', () => {
    it('demand their token', async () => {
      assert.equal((await ask()).status, 403);
      assert.equal((await ask('guess')).status, 403);
      assert.equal((await ask(undefined, '/_calls')).status, 403);
      assert.equal((await ask('control-token-for-tests')).status, 200);
      assert.equal((await ask('control-token-for-tests', '/_calls', 'PATCH')).status, 405);
      assert.equal((await ask('control-token-for-tests', '/_nothing')).status, 400);
    });

    it('do not exist without one', async () => {
      const closed = await startHarness({ controlToken: undefined } as object);
      try {
        const response = await fetch(`${closed.kms.url}/_faults`, { headers: { authorization: 'Bearer undefined' } });
        assert.match(await response.text(), /NotFoundException/);
        await assert.rejects(connectControl({ url: closed.kms.url, token: '' }).faults());
      } finally {
        await closed.stop();
      }
    });

    it('refuse what they do not know', async () => {
      await assert.rejects(inject({ fault: 'gremlin' } as unknown as FaultInput), /400/);
      await assert.rejects(inject({ fault: 'throttle', tims: 1 } as FaultInput), /400/);
      await assert.rejects(inject({ fault: 's-value', s: 'high', action: 'GetPublicKey' } as FaultInput), /400/);
      assert.deepEqual(await harness.control.faults(), []);
    });

    it('count by action, key, caller and outcome', async () => {
      await sign();
      await sign();
      await refused(sign(harness.as('stranger')), 'AccessDeniedException');
      const calls = await harness.control.calls();
      const base = { action: 'Sign', keyId: key.id };
      assert.deepEqual(calls, [
        { ...base, caller: principals.AKIAOWNER.arn, outcome: 'ok', count: 2 },
        { ...base, caller: principals.AKIASTRANGER.arn, outcome: 'AccessDeniedException', count: 1 },
      ]);
    });

    it('answer a health check to anybody', async () => {
      assert.deepEqual(await (await ask(undefined, '/_health')).json(), { status: 'ok' });
    });
  });
});
