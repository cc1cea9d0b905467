/** What each call of the registry costs, on logs that hold a seal where the name does not say otherwise. */
import assert from 'node:assert/strict';
import { encodeFunctionData } from 'viem';
import { registryAbi } from '../../contracts/registry.ts';
import { anchorData, key, type Devnet } from './devnet.ts';
import { openLog, type TestLog } from './log.ts';
import { handoverHash, hashOf, signAccept, signCancel, signHandover, type Handover } from './statements.ts';

/** Gas of whole transactions, per seal where the name says so. Keys, origins and periods are fixed, so these are exact. */
export type Figures = Record<string, number>;

/** @param net with periods of 3,600 seconds and no cooling-off */
export async function measureGas(net: Devnet): Promise<Figures> {
  const logs: TestLog[] = [];
  for (let n = 0; n < 100; n += 1) {
    const log = await openLog(net, key(1_000 + n));
    log.standing.period = 1_700_000_000 - (1_700_000_000 % 3600);
    logs.push(log);
  }
  const seal = async (batch: readonly TestLog[]): Promise<number> => {
    const items = [];
    for (const log of batch) {
      const next = log.next();
      items.push(await log.sign(next));
      log.advance(next);
    }
    const { outcomes, gasUsed } = await net.anchor(...items);
    assert.ok(outcomes.every((outcome) => outcome === 'Sealed'));
    return gasUsed;
  };
  const [alone, ...others] = logs as [TestLog, ...TestLog[]];
  const firstSealAlone = await seal([alone]);
  const firstSealInBatchOf99 = Math.ceil((await seal(others)) / others.length);
  const sealInBatchOf100 = Math.ceil((await seal(logs)) / logs.length);
  const sealAlone = await seal([alone]);
  const stale = await staleGas(net, alone);

  const register = encodeFunctionData({
    abi: registryAbi,
    functionName: 'register',
    args: [key(2_000).address, hashOf('kiff.dev/t/gas')],
  });
  const registration = Number((await net.send(register)).gasUsed);
  return {
    sealInBatchOf100,
    sealAlone,
    firstSealInBatchOf99,
    firstSealAlone,
    stale,
    registration,
    ...(await handoverGas(net, alone)),
  };
}

async function staleGas(net: Devnet, log: TestLog): Promise<number> {
  const stale = await log.sign(log.next({ seq: 1 }));
  return Number((await net.send(anchorData([stale]))).gasUsed);
}

async function handoverGas(net: Devnet, log: TestLog): Promise<Figures> {
  const [from, to] = [log.standing.signer, key(2_001)];
  const base = { logId: log.logId, epochTo: 1, from: from.address, to: to.address, custody: 2, notBefore: 0n };
  const handover: Handover = { ...base, expiresAt: 2n ** 40n, nonce: hashOf('accepted') };
  const other: Handover = { ...base, expiresAt: 2n ** 40n, nonce: hashOf('cancelled') };
  const gas = async (data: `0x${string}`): Promise<number> => {
    const { status, gasUsed } = await net.send(data);
    assert.equal(status, 'success');
    return Number(gasUsed);
  };
  const propose = async (what: Handover): Promise<number> => {
    const signatures = [await signHandover(net.domain, from, what), await signHandover(net.domain, to, what)] as const;
    return await gas(
      encodeFunctionData({ abi: registryAbi, functionName: 'proposeHandover', args: [what, ...signatures] }),
    );
  };
  const step = (what: Handover) => ({ logId: log.logId, epochTo: 1, handoverHash: handoverHash(what) });

  const proposal = await propose(other);
  const cancelSignature = await signCancel(net.domain, from, step(other));
  const cancellation = await gas(
    encodeFunctionData({ abi: registryAbi, functionName: 'cancelHandover', args: [other, cancelSignature] }),
  );
  await propose(handover);
  const { seq, head } = log.standing;
  const acceptSignature = await signAccept(net.domain, to, { ...step(handover), seq, head });
  const acceptance = await gas(
    encodeFunctionData({ abi: registryAbi, functionName: 'acceptHandover', args: [handover, acceptSignature] }),
  );
  return { proposal, cancellation, acceptance };
}
