import assert from 'node:assert/strict';
import { sign } from 'node:crypto';
import { leafHash } from '../../protocol/entry.ts';
import { toHex } from '../../protocol/hex.ts';
import {
  NotJsonError,
  PROMISE_CHECK_NAMES,
  RpcUnreachable,
  verifyPromiseText,
  type PromiseCheckName,
  type PromiseOptions,
  type Receipt,
  type SealPromise,
} from '../../protocol/index.ts';
import { promiseBytes, type PromiseTerms } from '../../protocol/promise.ts';
import {
  edited,
  makePolicy,
  makeReceipt,
  named,
  operatorOf,
  ORIGIN,
  PERIOD,
  PERIOD_SECONDS,
} from './receipt-factory.ts';
import { scriptedChain } from './scripted-chain.ts';

const KEY = operatorOf('promises');
const policy = makePolicy({ promiseKeys: [operatorOf('earlier').publicKey, KEY.publicKey] });
const SEAL_BY = PERIOD + 2 * PERIOD_SECONDS;

function signed(terms: PromiseTerms, key = KEY): SealPromise {
  return { ...terms, signature: toHex(sign(null, promiseBytes(terms), key.privateKey)) };
}

const verify = (value: unknown, options: PromiseOptions = {}, by = policy) =>
  verifyPromiseText(JSON.stringify(value), by, options);

async function fails(name: PromiseCheckName, saying: RegExp, verification: ReturnType<typeof verify>): Promise<void> {
  const { ok, checks } = await verification;
  assert.ok(!ok);
  assert.deepEqual(named(checks, 'failed'), [name]);
  assert.match(checks.find((check) => check.name === name)?.detail ?? '', saying);
}

describe('verifying a promise', () => {
  let receipt: Receipt;
  let promise: SealPromise;

  before(async () => {
    receipt = await makeReceipt();
    const { leafIndex, entry } = receipt;
    promise = signed({ origin: ORIGIN, leafIndex, leafHash: leafHash(entry), sealBy: SEAL_BY });
  });

  const withReceipt = (value: unknown, of: Receipt = receipt) =>
    verify(value, { receipt: JSON.stringify(of), rpc: scriptedChain(of) });

  it('alone: it was made, and whether it was kept stays open', async () => {
    const { ok, checks, proved, notProved } = await verify(promise);
    assert.deepEqual(
      checks.map(({ name }) => name),
      PROMISE_CHECK_NAMES,
    );
    assert.ok(ok);
    assert.deepEqual(named(checks, 'waived'), ['receipt', 'leaf', 'kept']);
    assert.equal(proved.length, 1);
    assert.ok(notProved.includes('Whether the promise was kept.'));
  });

  it('inside the answer that brought it', async () => {
    assert.ok((await verify({ id: 'evt_3', status: 'accepted', promise })).ok);
    const { checks } = await verify({ promise: { ...promise, more: 1 } });
    assert.match(checks[0]?.detail ?? '', /^\/promise\/more: /);
  });

  it('with the receipt and the chain: it was kept', async () => {
    const { ok, checks, proved } = await withReceipt(promise);
    assert.ok(ok);
    assert.deepEqual(named(checks, 'held'), PROMISE_CHECK_NAMES);
    assert.ok(proved.includes('The promise was kept.'));
  });

  it('offline the receipt shows the leaf, and not since when it is sealed', async () => {
    const { ok, checks } = await verify(promise, { receipt: JSON.stringify(receipt), offline: true });
    assert.ok(ok);
    assert.deepEqual(named(checks, 'waived'), ['kept']);
  });

  it('any term changed, another key, or no key: it was not signed', async () => {
    const changes: Partial<SealPromise>[] = [
      { leafIndex: promise.leafIndex + 1 },
      { leafHash: `0x${'11'.repeat(32)}` },
      { sealBy: SEAL_BY + 1 },
      { signature: `0x${'00'.repeat(64)}` },
      signed(promise, operatorOf('somebody')),
    ];
    for (const change of changes) await fails('signature', /none of the policy/, verify({ ...promise, ...change }));
    await fails('signature', /names no key/, verify(promise, {}, makePolicy()));
  });

  it('of a log that the policy does not know', async () => {
    const { checks } = await verify(signed({ ...promise, origin: 'kiff.dev/t/other' }));
    assert.deepEqual(named(checks, 'failed'), ['policy', 'signature']);
  });

  it('what stands at the leaf is something else: the promise is broken, and the promise shows it', async () => {
    await fails(
      'leaf',
      /another one than was promised/,
      withReceipt(signed({ ...promise, leafHash: `0x${'11'.repeat(32)}` })),
    );
    await fails('leaf', /is of leaf 3; leaf 4 was promised/, withReceipt(signed({ ...promise, leafIndex: 4 })));
    const both = makePolicy({ promiseKeys: [KEY.publicKey] });
    const other = 'kiff.dev/t/other';
    const two = { ...both, logs: [...both.logs, { ...both.logs[0]!, origin: other }] };
    await fails(
      'leaf',
      /of the log kiff\.dev\/t\/acme, not of kiff\.dev\/t\/other/,
      verify(signed({ ...promise, origin: other }), { receipt: JSON.stringify(receipt), offline: true }, two),
    );
  });

  it('sealed later than promised: by the block, and without a chain when the period alone is later', async () => {
    const late = scriptedChain(receipt, {
      tamper: (method, _params, honest) =>
        method === 'eth_getBlockByNumber' && honest !== null
          ? { ...(honest as object), timestamp: `0x${(SEAL_BY + 1).toString(16)}` }
          : honest,
    });
    await fails('kept', /, 1 s later$/, verify(promise, { receipt: JSON.stringify(receipt), rpc: late }));
    const early = signed({ ...promise, sealBy: PERIOD + PERIOD_SECONDS - 1 });
    await fails('kept', /its period lasted until/, verify(early, { receipt: JSON.stringify(receipt), offline: true }));
  });

  it('a receipt that does not hold shows nothing', async () => {
    const forged = edited(receipt, (copy) => void (copy.leafIndex = 2));
    const { ok, checks } = await verify(promise, { receipt: JSON.stringify(forged), offline: true });
    assert.ok(!ok);
    assert.deepEqual(named(checks, 'failed'), ['receipt']);
    assert.deepEqual(named(checks, 'not-run'), ['leaf', 'kept']);
  });

  it('a node that does not answer leaves it open', async () => {
    const { ok, checks, rpcUnreachable } = await verify(promise, {
      receipt: JSON.stringify(receipt),
      rpc: () => Promise.reject(new RpcUnreachable('gone')),
    });
    assert.ok(!ok && rpcUnreachable);
    assert.deepEqual(named(checks, 'failed'), []);
  });

  it('what is no promise', async () => {
    const { signature: _signature, ...unsigned } = promise;
    for (const value of [null, [], 'x', {}, unsigned, { ...promise, sealBy: -1 }, { ...promise, leafHash: '0x' }]) {
      await fails('format', /./, verify(value));
    }
    const twice = JSON.stringify(promise).replace('{', '{"sealBy":1,');
    await fails('format', /same name/, verifyPromiseText(twice, policy));
    await assert.rejects(verifyPromiseText('{', policy), NotJsonError);
  });
});
