// Past 10 KB: every outcome of anchor, by example.
import assert from 'node:assert/strict';
import {
  encodeFunctionData,
  pad,
  parseEventLogs,
  toHex,
  zeroAddress,
  zeroHash,
  keccak256,
  encodeAbiParameters,
} from 'viem';
import { registryAbi } from '../../contracts/registry.ts';
import { anchorData, key, revertName, startDevnet, type Devnet } from './devnet.ts';
import { openLog } from './log.ts';
import { hashOf, logIdOf, sealHash } from './statements.ts';

const P = 3600;

describe('SealRegistry: register and anchor', () => {
  let net: Devnet;
  before(async () => {
    net = await startDevnet({ periodSeconds: P, coolingOffSeconds: 86_400 });
  });
  after(async () => {
    await net.stop();
  });

  describe('register', () => {
    const signer = key(11).address;
    const originHash = hashOf('kiff.dev/t/acme');
    const data = encodeFunctionData({ abi: registryAbi, functionName: 'register', args: [signer, originHash] });

    it('makes the log whose id commits to signer and origin', async () => {
      const logId = logIdOf(signer, originHash);
      const { address } = net.registry;
      const args = [signer, originHash] as const;
      assert.equal(await net.client.readContract({ address, abi: registryAbi, functionName: 'logIdOf', args }), logId);
      const { logs } = await net.send(data);
      const [event, ...more] = parseEventLogs({ abi: registryAbi, logs });
      assert.equal(more.length, 0);
      assert.equal(event?.eventName, 'LogRegistered');
      assert.deepEqual(event.args, { logId, genesisSigner: signer, originHash });
      assert.equal((await net.state(logId)).signer, signer.toLowerCase());
    });

    it('leaves a log that exists as it is, without an event', async () => {
      const log = await openLog(net, key(12));
      await log.seal();
      const again = encodeFunctionData({
        abi: registryAbi,
        functionName: 'register',
        args: [log.genesisSigner, log.originHash],
      });
      const receipt = await net.send(again);
      assert.equal(receipt.status, 'success');
      assert.equal(receipt.logs.length, 0);
      await log.assertStanding();
    });

    it('refuses the zero address', async () => {
      const { address } = net.registry;
      const call = { address, abi: registryAbi, functionName: 'register', args: [zeroAddress, originHash] } as const;
      await assert.rejects(net.client.simulateContract(call), (error) => revertName(error) === 'ZeroSigner');
    });
  });

  it('shows zeros for a log that nobody registered', async () => {
    const empty = { signer: zeroAddress, epoch: 0, seq: 0, period: 0, treeSize: 0, head: zeroHash };
    assert.deepEqual(await net.state(hashOf('nothing')), empty);
    assert.deepEqual(await net.pending(hashOf('nothing')), { hash: zeroHash, eta: 0, expiresAt: 0 });
  });

  it('seals in order, each on the head of the one before, and says so', async () => {
    const log = await openLog(net, key(13));
    await log.assertStanding();
    for (let n = 1; n <= 3; n += 1) {
      const seal = log.next();
      const item = await log.sign(seal);
      const { logs } = await net.send(anchorData([item]));
      const [event, ...more] = parseEventLogs({ abi: registryAbi, logs });
      assert.equal(more.length, 0);
      assert.equal(event?.eventName, 'Sealed');
      const { logId, seq, treeSize, root } = seal;
      assert.deepEqual(event.args, { logId, seq, period: item.period, treeSize, root, sealHash: sealHash(seal) });
      log.advance(seal);
      await log.assertStanding();
    }
  });

  it('takes several seals of one log in one batch, and an empty batch', async () => {
    const log = await openLog(net, key(14));
    const items = [];
    for (let n = 1; n <= 4; n += 1) {
      const seal = log.next();
      items.push(await log.sign(seal));
      log.advance(seal);
    }
    assert.deepEqual((await net.anchor(...items)).outcomes, ['Sealed', 'Sealed', 'Sealed', 'Sealed']);
    await log.assertStanding();
    assert.deepEqual((await net.anchor()).outcomes, []);
  });

  it('seals an empty period: same size, same root', async () => {
    const log = await openLog(net, key(15));
    const root = hashOf('root');
    await log.seal({ treeSize: 0, root });
    await log.seal({ treeSize: 0, root });
    await log.seal({ treeSize: 9, root });
    await log.seal({ treeSize: 9, root });
    await log.assertStanding();
  });

  it('refuses an unknown log', async () => {
    const log = await openLog(net, key(16));
    const stranger = await log.sign(log.next({ logId: hashOf('no such log') }));
    assert.deepEqual((await net.anchor(stranger)).outcomes, ['UnknownLog']);
  });

  describe('seq', () => {
    it('skips what stands already, the same or another, without an event', async () => {
      const log = await openLog(net, key(17));
      const fork = await log.sign(log.next({ root: hashOf('a fork') }));
      const first = await log.seal();
      const second = await log.seal();
      const receipt = await net.send(anchorData([first, fork, second]));
      assert.equal(receipt.logs.length, 0);
      assert.deepEqual(await net.simulate([first, fork, second]), ['Stale', 'Stale', 'Stale']);
      await log.assertStanding();
    });

    it('refuses a gap, zero, and the far end', async () => {
      const log = await openLog(net, key(18));
      assert.deepEqual((await net.anchor(await log.sign(log.next({ seq: 2 })))).outcomes, ['Gap']);
      assert.deepEqual((await net.anchor(await log.sign(log.next({ seq: 0 })))).outcomes, ['Gap']);
      await log.seal();
      for (const seq of [3, 2 ** 24, 2 ** 24 + 2, 2 ** 32 - 1, 0]) {
        assert.deepEqual((await net.anchor(await log.sign(log.next({ seq })))).outcomes, ['Gap'], String(seq));
      }
      await log.assertStanding();
    });
  });

  describe('period', () => {
    it('is free for the first seal, but a multiple of P', async () => {
      const log = await openLog(net, key(19));
      const { period } = log.next();
      for (const bad of [period + 1, period - 1, period + P / 2]) {
        assert.deepEqual((await net.anchor(await log.sign(log.next({ period: bad })))).outcomes, ['BadPeriod']);
      }
      await log.seal({ period: 0 });
      await log.assertStanding();
      await log.seal({ period: P });
    });

    it('rises by exactly P', async () => {
      const log = await openLog(net, key(20));
      await log.seal();
      const { period } = log.next();
      for (const bad of [period - P, period + P, period - 2 * P, 0, period + 1, period - 1]) {
        assert.deepEqual((await net.anchor(await log.sign(log.next({ period: bad })))).outcomes, ['BadPeriod']);
      }
      await log.seal();
    });

    it('must be over: refused in its last second, taken in the next', async () => {
      const log = await openLog(net, key(21));
      const period = Math.ceil((await net.now()) / P) * P;
      const seal = log.next({ period });
      const item = await log.sign(seal);
      assert.deepEqual((await net.anchor(item)).outcomes, ['TooEarly']);
      await net.at(period + P - 1);
      assert.deepEqual((await net.anchor(item)).outcomes, ['TooEarly']);
      await net.at(period + P);
      assert.deepEqual((await net.anchor(item)).outcomes, ['Sealed']);
      log.advance(seal);
      await log.assertStanding();
    });

    it('is refused, not cut off, when it does not fit', async () => {
      const log = await openLog(net, key(22));
      const { period } = log.next();
      const last = (2n ** 64n - 1n) / BigInt(P);
      const base = await log.sign(log.next());
      // Numbers past 2^53 cannot be signed as numbers; the rule comes before the signature anyhow.
      const far = { ...base, period: last * BigInt(P) };
      const wrapped = { ...base, period: BigInt(period) + 2n ** 32n * BigInt(P) };
      const largest = { ...base, period: (2n ** 32n - 1n) * BigInt(P) };
      assert.deepEqual((await net.anchor(far)).outcomes, ['BadPeriod']);
      assert.deepEqual((await net.anchor(wrapped)).outcomes, ['BadPeriod']);
      assert.deepEqual((await net.anchor(largest)).outcomes, ['TooEarly']);
      assert.deepEqual((await net.anchor({ ...base, period: 2n ** 64n - 1n })).outcomes, ['BadPeriod']);
    });
  });

  describe('tree size', () => {
    it('never falls', async () => {
      const log = await openLog(net, key(23));
      await log.seal({ treeSize: 100 });
      assert.deepEqual((await net.anchor(await log.sign(log.next({ treeSize: 99 })))).outcomes, ['BadTreeSize']);
      assert.deepEqual((await net.anchor(await log.sign(log.next({ treeSize: 0 })))).outcomes, ['BadTreeSize']);
      await log.seal({ treeSize: 100 });
      await log.seal({ treeSize: 101 });
    });

    it('is refused, not cut off, when it does not fit', async () => {
      const log = await openLog(net, key(24));
      for (const treeSize of [2 ** 40, 2 ** 40 + 7, 2 ** 48 - 1]) {
        assert.deepEqual((await net.anchor(await log.sign(log.next({ treeSize })))).outcomes, ['BadTreeSize']);
      }
      await log.seal({ treeSize: 2 ** 40 - 1 });
      await log.assertStanding();
    });
  });

  it('names the first rule that is broken', async () => {
    const log = await openLog(net, key(25));
    await log.seal({ treeSize: 5 });
    const future = Math.ceil((await net.now()) / P) * P + 10 * P;
    const wrong = key(99);
    const bad = { seq: 7, period: future, treeSize: 1 };
    assert.deepEqual((await net.anchor(await log.sign(log.next(bad), wrong))).outcomes, ['Gap']);
    assert.deepEqual((await net.anchor(await log.sign(log.next({ ...bad, seq: 2 }), wrong))).outcomes, ['BadPeriod']);
    const { period } = log.next();
    assert.deepEqual((await net.anchor(await log.sign(log.next({ treeSize: 1, period }), wrong))).outcomes, [
      'BadTreeSize',
    ]);
    assert.deepEqual((await net.anchor(await log.sign(log.next(), wrong))).outcomes, ['BadSignature']);
    const young = await openLog(net, key(26));
    const early = await young.sign(young.next({ period: future, treeSize: 2 ** 41 }), wrong);
    assert.deepEqual((await net.anchor(early)).outcomes, ['TooEarly']);
  });

  it('spares the neighbours of a bad item, and tells each its outcome', async () => {
    const logs = [await openLog(net, key(27)), await openLog(net, key(28)), await openLog(net, key(29))] as const;
    const [a, b, c] = logs;
    const stale = await a.seal();
    const good = [a.next(), b.next(), c.next()] as const;
    const items = [
      await a.sign(good[0]),
      stale,
      await b.sign(b.next({ seq: 9 })),
      await b.sign(good[1]),
      { ...(await c.sign(good[2])), signature: '0x' as const },
      await a.sign(a.next({ logId: hashOf('none') })),
      await c.sign(good[2]),
    ];
    const expected = ['Sealed', 'Stale', 'Gap', 'Sealed', 'BadSignature', 'UnknownLog', 'Sealed'];
    assert.deepEqual(await net.simulate(items), expected);
    assert.deepEqual((await net.anchor(...items)).outcomes, expected);
    for (const [index, log] of logs.entries()) {
      log.advance(good[index] ?? assert.fail());
      await log.assertStanding();
    }
  });

  it('reverts as a whole on call data that is no valid encoding', async () => {
    const log = await openLog(net, key(30));
    const data = anchorData([await log.sign(log.next())]);
    assert.equal((await net.send(data.slice(0, -64) as `0x${string}`)).status, 'reverted');
    await log.assertStanding();
    assert.equal((await net.send(data)).status, 'success');
  });

  it('packs a log into slots 0 and 1, and refuses a seal past the last seq that fits', async () => {
    const log = await openLog(net, key(31));
    await log.seal();
    // OpenZeppelin's EIP712 takes the contract's slots 0 and 1; the mapping of logs is in slot 2.
    const slot = BigInt(keccak256(encodeAbiParameters([{ type: 'bytes32' }, { type: 'uint256' }], [log.logId, 2n])));
    const { address } = net.registry;
    const read = async (offset: bigint) =>
      await net.client.getStorageAt({ address, slot: toHex(slot + offset, { size: 32 }) });
    const word = (seq: number) => {
      const { signer, period, treeSize } = log.standing;
      const fields = [
        toHex(treeSize, { size: 5 }),
        toHex(period / P, { size: 4 }),
        toHex(seq, { size: 3 }),
        signer.address,
      ];
      return `0x${fields.map((field) => field.slice(2)).join('')}`.toLowerCase() as `0x${string}`;
    };
    assert.equal(await read(0n), word(1));
    assert.equal(await read(1n), log.standing.head);
    assert.equal(await read(2n), pad('0x'));
    assert.equal(await read(3n), pad('0x'));

    const last = 2 ** 24 - 1;
    await net.chain.setStorageAt({ address, index: toHex(slot, { size: 32 }), value: word(last - 1) });
    log.standing.seq = last - 1;
    await log.seal();
    assert.equal((await net.state(log.logId)).seq, last);
    assert.deepEqual((await net.anchor(await log.sign(log.next()))).outcomes, ['Gap']);
    await log.assertStanding();
  });
});
