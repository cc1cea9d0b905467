/** What should exist, from the chain alone: every seal listed, and each period that lacks one named. */
import assert from 'node:assert/strict';
import { RpcTooLarge, type Rpc } from '../../protocol/rpc.ts';
import { verifyLog } from '../../protocol/verify-log.ts';
import { makeLog, type MadeLog } from './bundle-factory.ts';
import { logChain } from './log-chain.ts';
import { makePolicy, named, ORIGIN, PERIOD, PERIOD_SECONDS } from './receipt-factory.ts';

describe('protocol/verify-log', () => {
  let log: MadeLog;
  const policy = makePolicy();
  const due = PERIOD + 4 * PERIOD_SECONDS;

  before(async () => {
    log = await makeLog({ hours: [{ entries: 1 }, { entries: 0, handover: true }, { entries: 2 }, { entries: 2 }] });
  });

  it('lists every seal with its place and time, in order, and nothing is missing while nothing is due', async () => {
    const report = await verifyLog(ORIGIN, policy, logChain(log, { now: due + 2 * PERIOD_SECONDS }));
    assert.equal(report.ok, true, JSON.stringify(report.checks));
    assert.deepEqual(
      report.seals.map(({ seq, root, place, signer }) => [seq, root, place.txHash, signer]),
      log.hours.map(({ seal: { seal, anchor } }) => [seal.seq, seal.root, anchor?.txHash, seal.signer]),
    );
  });

  it('names each period that was promised and is not there', async () => {
    const report = await verifyLog(ORIGIN, policy, logChain(log, { now: due + 5 * PERIOD_SECONDS + 1 }));
    assert.deepEqual(named(report.checks, 'failed'), ['periods']);
    assert.deepEqual(
      report.findings.map(({ kind, period }) => [kind, period]),
      [0, 1, 2, 3].map((hours) => ['missing-period', due + hours * PERIOD_SECONDS]),
    );
  });

  it('names late seals, and those that are not final', async () => {
    const report = await verifyLog(ORIGIN, policy, logChain(log, { delay: { 2: 9000 }, finalized: 1035 }));
    assert.deepEqual(
      report.findings.map(({ kind, seq }) => [kind, seq]),
      [
        ['late', 2],
        ['not-final', 4],
      ],
    );
  });

  it('takes smaller ranges from a node that refuses large ones, or answers with too much', async () => {
    const honest = logChain(log, { maxRange: 100 });
    const tooMuch: Rpc = async (method, params) => {
      const { fromBlock, toBlock } = (params[0] ?? {}) as { fromBlock?: string; toBlock?: string };
      if (method === 'eth_getLogs' && Number(toBlock) - Number(fromBlock) > 30) throw new RpcTooLarge(1);
      return honest(method, params);
    };
    for (const rpc of [honest, tooMuch]) assert.equal((await verifyLog(ORIGIN, policy, rpc)).seals.length, 4);
  });

  it('believes no node that leaves one out, and lists nothing then', async () => {
    const report = await verifyLog(ORIGIN, policy, logChain(log, { hide: [4] }));
    assert.deepEqual([named(report.checks, 'failed'), report.seals], [['anchor'], []]);
    const unknown = await verifyLog('kiff.dev/t/other', policy, logChain(log));
    assert.deepEqual(named(unknown.checks, 'failed'), ['policy']);
  });

  it('a log without a seal has none', async () => {
    const report = await verifyLog(ORIGIN, policy, logChain(log, { seals: 0 }));
    assert.deepEqual([report.ok, report.seals], [true, []]);
  });
});
