/** Activities of the anchoring worker. Each one first takes or renews the wallet's lease for the calling run. */
import type { Pool } from 'pg';
import { encodeFunctionData, keccak256, stringToHex } from 'viem';
import { registryAbi } from '../../contracts/registry.ts';
import type { Hex } from '../../protocol/hex.ts';
import { readLogState, reachable } from '../chain/registry.ts';
import { failure, type Alert } from '../failures.ts';
import { anchorCall, judge, MAX_BATCH } from './choose.ts';
import { confirm } from './confirm.ts';
import { findSealed, sealedEvents } from './events.ts';
import { createSealQueue, type LevelChange, type QueuedSeal } from './queue.ts';
import { advance, type SendDependencies } from './send.ts';
import { createWallet, type OpenNonce, type Wallet } from './wallet.ts';

/** Seals looked at in one round of confirming. */
const CONFIRM_BATCH = 500;

export interface AnchoringDependencies extends SendDependencies {
  pool: Pool;
  contract: Hex;
  /** First block that can hold an event of the contract. */
  fromBlock: bigint;
  alert: Alert;
  /** The workflow run on whose behalf the current activity runs. */
  run: () => string;
  /** Tells a tenant's seal workflow that its level changed; best effort, since the workflow also looks by itself. */
  nudgeSeal: (tenantId: string, period: number) => Promise<void>;
  /** Wakes the wallet workflow, starting it if it does not run. */
  nudgeWallet: () => Promise<void>;
}

/** What there is to send: a nonce in flight, or nothing yet. `early` seals wait for the chain's next block. */
export interface Next {
  inFlight: InFlight | null;
  early: number;
}

/** What became of a nonce. A transaction that reverted did nothing; its seals are still in the queue. */
export interface Advance {
  mined: boolean;
  reverted: boolean;
  seals: number;
}

/** A nonce in flight, for the operator's eyes. */
export interface InFlight {
  nonce: number;
  kind: OpenNonce['kind'];
}

export type AnchoringActivities = ReturnType<typeof createAnchoringActivities>;

export function createAnchoringActivities(deps: AnchoringDependencies) {
  const { pool, chain, contract, relayer, alert } = deps;
  const queue = createSealQueue(pool);
  const held = async (): Promise<Wallet> => {
    const wallet = createWallet(pool, deps.chainId, relayer.address, deps.run());
    await wallet.hold();
    return wallet;
  };

  async function writeLevels(changes: readonly LevelChange[]): Promise<void> {
    await queue.setLevels(changes);
    const newest = new Map(changes.map((change) => [`${change.tenantId}/${change.period}`, change]));
    await Promise.all([...newest.values()].map((change) => deps.nudgeSeal(change.tenantId, change.period)));
  }

  /** The next nonce, or a mined one that a reorg has freed again. */
  async function nextNonce(wallet: Wallet): Promise<number | OpenNonce> {
    const last = await wallet.lastNonce();
    const onChain = await reachable(() => chain.getTransactionCount({ address: relayer.address, blockTag: 'latest' }));
    if (last === null || onChain === last + 1) return onChain;
    if (onChain > last + 1) {
      alert('foreign-nonce', { nonce: onChain - 1 });
      throw failure('foreign-nonce', { nonce: onChain - 1 });
    }
    for (const mined of await wallet.minedNonces()) {
      if (mined.nonce >= onChain) {
        alert('nonce-reopened', { nonce: mined.nonce });
        await wallet.reopen(mined.nonce);
      }
    }
    const open = await wallet.openNonce();
    if (open === null) throw failure('chain-unavailable'); // a lagging RPC: everything we know is final there
    return open;
  }

  async function openNonce(wallet: Wallet, kind: OpenNonce['kind'], data: Hex): Promise<InFlight> {
    const next = await nextNonce(wallet);
    if (typeof next !== 'number') return { nonce: next.nonce, kind: next.kind };
    const estimate = await reachable(() => chain.estimateGas({ account: relayer.address, to: contract, data }));
    await wallet.open({ nonce: next, kind, to: contract, data, gas: (estimate * 5n) / 4n });
    return { nonce: next, kind };
  }

  /** Logs that are registered already (by anybody) are noted; the first that is not becomes the next transaction. */
  async function registration(): Promise<Hex | null> {
    for (const log of await queue.unregistered(100)) {
      const state = await readLogState(chain, contract, log.logId);
      if (/^0x0{40}$/.test(state.signer)) {
        return encodeFunctionData({
          abi: registryAbi,
          functionName: 'register',
          args: [log.genesisSigner, keccak256(stringToHex(log.origin))],
        });
      }
      await queue.registered([log.tenantId], await reachable(() => chain.getBlockNumber({ cacheTime: 0 })));
    }
    return null;
  }

  /** Signed seals that the contract would take now. The others are dealt with on the way. */
  async function anchorable(): Promise<{ take: QueuedSeal[]; early: number }> {
    const verdicts = await judge(chain, contract, relayer.address, await queue.toAnchor(MAX_BATCH));
    for (const { seal, outcome } of verdicts.refuse) {
      alert('seal-refused', { tenantId: seal.tenantId, seq: seal.seq, outcome });
      await queue.setRefused(seal.tenantId, seal.seq, outcome);
    }
    await queue.unregister(verdicts.unknown.map((seal) => seal.tenantId));
    for (const seal of verdicts.stale) {
      const event = await findSealed(chain, contract, seal.logId, seal.seq, deps.fromBlock);
      if (event === null) continue; // a lagging RPC; the next round asks again
      if (event.sealHash === seal.sealHash) {
        const { tenantId, seq, period } = seal;
        await writeLevels([{ tenantId, seq, period, level: 'included', anchor: event.anchor }]);
      } else {
        alert('chain-differs', { tenantId: seal.tenantId, seq: seal.seq });
        await queue.setRefused(seal.tenantId, seal.seq, 'another seal stands on chain');
      }
    }
    return { take: verdicts.take, early: verdicts.early.length };
  }

  return {
    /** Wakes the wallet workflow. */
    async nudgeWallet(): Promise<void> {
      await deps.nudgeWallet();
    },

    /** Gives the lease up at the end of a run. */
    async releaseWallet(): Promise<void> {
      await createWallet(pool, deps.chainId, relayer.address, deps.run()).release();
    },

    /** The nonce in flight, or a new one for what waits in the queue. */
    async nextTransaction(): Promise<Next> {
      const wallet = await held();
      const open = await wallet.openNonce();
      if (open !== null) return { inFlight: { nonce: open.nonce, kind: open.kind }, early: 0 };
      // Registrations and seals take turns, so that a rush of new tenants holds up no seal, nor seals a new tenant.
      const registerFirst = ((await wallet.lastNonce()) ?? 0) % 2 === 0;
      const register = registerFirst ? await registration() : null;
      if (register !== null) return { inFlight: await openNonce(wallet, 'register', register), early: 0 };
      const { take, early } = await anchorable();
      if (take.length > 0) return { inFlight: await openNonce(wallet, 'anchor', anchorCall(take)), early };
      const late = registerFirst ? null : await registration();
      return { inFlight: late === null ? null : await openNonce(wallet, 'register', late), early };
    },

    /** Signs, stores, broadcasts and looks for the nonce in flight. @returns whether it is in a block, and what it did there */
    async advanceTransaction({ nonce }: { nonce: number }): Promise<Advance> {
      const wallet = await held();
      const open = await wallet.openNonce();
      if (open === null || open.nonce !== nonce) return { mined: true, reverted: false, seals: 0 };
      const receipt = await advance(deps, wallet, open);
      if (receipt === null) return { mined: false, reverted: false, seals: 0 };
      const reverted = receipt.status === 'reverted';
      if (reverted) alert('transaction-reverted', { nonce, transaction: receipt.transactionHash });

      const events = sealedEvents(receipt, contract);
      const owners = new Map((await queue.find(events)).map((log) => [log.logId, log.tenantId]));
      const changes = events.flatMap((event): LevelChange[] => {
        const tenantId = owners.get(event.logId);
        if (tenantId === undefined) return [];
        return [{ tenantId, seq: event.seq, period: event.period, level: 'included', anchor: event.anchor }];
      });
      await writeLevels(changes);
      // Last: until this is written the receipt is looked up again, so a crash in between loses nothing.
      await wallet.mined(nonce, receipt.transactionHash, receipt.blockNumber);
      return { mined: true, reverted, seals: changes.length };
    },

    /** Follows seals that are in a block. @returns how many are not final yet */
    async confirmSeals(): Promise<{ waiting: number; final: number }> {
      const wallet = await held();
      const seals = await queue.toConfirm(CONFIRM_BATCH);
      if (seals.length === 0) return { waiting: 0, final: 0 };
      const { changes, finalBlock } = await confirm(
        { ...deps, sealHashes: (places) => queue.sealHashes(places) },
        seals,
      );
      await writeLevels(changes);
      await wallet.final(finalBlock);
      const final = changes.filter((change) => change.level === 'final').length;
      return { waiting: seals.length - final, final };
    },
  };
}
