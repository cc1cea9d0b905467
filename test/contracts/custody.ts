/** The steps of a succession, as the two keys take them. */
import assert from 'node:assert/strict';
import type { LocalAccount } from 'viem';
import { key, type Devnet } from './devnet.ts';
import { openLog, type TestLog } from './log.ts';
import {
  acceptHash,
  handoverHash,
  hashOf,
  signAccept,
  signCancel,
  signHandover,
  type Acceptance,
  type Domain,
  type Handover,
} from './statements.ts';

export const lengths = { periodSeconds: 3600, coolingOffSeconds: 86_400 };
export const [oldKey, newKey, thirdKey, stranger] = [key(201), key(202), key(203), key(204)];

let nonces = 0;

export type Steps = ReturnType<typeof stepsOn>;

/** Each step returns the name of the error that it reverted with, or null. */
export function stepsOn(net: Devnet) {
  /** A handover of `log` to `to` that expires 72 hours from now. */
  async function draft(log: TestLog, to: LocalAccount = newKey, change: Partial<Handover> = {}): Promise<Handover> {
    return {
      logId: log.logId,
      epochTo: log.standing.epoch + 1,
      from: log.standing.signer.address,
      to: to.address,
      custody: 3,
      notBefore: 0n,
      expiresAt: BigInt(await net.now()) + 259_200n,
      nonce: hashOf(`nonce ${++nonces}`),
      ...change,
    };
  }

  async function propose(handover: Handover, from = oldKey, to = newKey, domain: Domain = net.domain) {
    const signatures = [await signHandover(domain, from, handover), await signHandover(domain, to, handover)] as const;
    return await net.handover('proposeHandover', handover, ...signatures);
  }

  async function cancel(handover: Handover, by: LocalAccount, domain: Domain = net.domain) {
    const { logId, epochTo } = handover;
    const signature = await signCancel(domain, by, { logId, epochTo, handoverHash: handoverHash(handover) });
    return await net.handover('cancelHandover', handover, signature);
  }

  async function accept(log: TestLog, handover: Handover, by = newKey, domain: Domain = net.domain) {
    return await net.handover('acceptHandover', handover, await signAccept(domain, by, acceptance(log, handover)));
  }

  /** Proposes, waits and accepts; the test's log follows. */
  async function succeed(log: TestLog, handover: Handover, from: LocalAccount, to: LocalAccount): Promise<void> {
    assert.equal(await propose(handover, from, to), null);
    await net.at((await net.pending(log.logId)).eta);
    assert.equal(await accept(log, handover, to), null);
    const head = acceptHash(acceptance(log, handover));
    Object.assign(log.standing, { signer: to, epoch: handover.epochTo, head });
  }

  async function logWithSeals(signer = oldKey): Promise<TestLog> {
    const log = await openLog(net, signer);
    await log.seal();
    await log.seal();
    return log;
  }
  return { draft, propose, cancel, accept, succeed, logWithSeals };
}

/** The acceptance at the log's standing, or a variation of it. */
export function acceptance(log: TestLog, handover: Handover): Acceptance {
  const { logId, epochTo } = handover;
  return { logId, epochTo, handoverHash: handoverHash(handover), seq: log.standing.seq, head: log.standing.head };
}
