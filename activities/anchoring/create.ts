/** Activities of the anchoring worker. Each one first takes or renews the wallet's lease for the calling run. */
import type { Pool } from 'pg';
import type { PublicClient } from 'viem';
import type { Hex } from '../../protocol/hex.ts';
import type { AgreedChain } from '../chain/endpoints.ts';
import { reachable } from '../chain/registry.ts';
import { failureType, type Alert } from '../failures.ts';
import { freezeLog } from '../log/freeze.ts';
import { gasLimit, plannedGas } from './batch.ts';
import { anchorCall } from './choose.ts';
import type { FeePolicy } from './fees.ts';
import { followSeals, type FollowDependencies } from './follow.ts';
import { handoverGasLimit } from './handover-calls.ts';
import { createHandovers, type HandoverStanding } from './handovers.ts';
import { minedOf, nextNonce } from './nonces.ts';
import { createSealQueue, type LevelChange } from './queue.ts';
import type { Relayer } from './relayer.ts';
import { ALERT_BELOW_HOURS, hoursLeft } from './runway.ts';
import { advance } from './send.ts';
import { settle } from './settle.ts';
import { createConditions, type Tell } from './tell.ts';
import { createWallet, type OpenNonce, type Wallet } from './wallet.ts';
import { anchorable, dueHandover, readQueue, registration } from './work.ts';

export interface AnchoringDependencies {
  pool: Pool;
  /** One node's view, for what is only a guess until it is final. Falls over to the next endpoint when one is away. */
  chain: PublicClient;
  /** All endpoints: each is sent what there is to send. */
  endpoints: readonly PublicClient[];
  /** All endpoints read as one, for what must not be one provider's word. */
  agreed: AgreedChain;
  chainId: number;
  contract: Hex;
  /** First block that can hold an event of the contract. */
  fromBlock: bigint;
  relayer: Relayer;
  fees: FeePolicy;
  alert: Alert;
  tell: Tell;
  now: () => number;
  /** The workflow run on whose behalf the current activity runs. */
  run: () => string;
  /** Longer than any wait of the workflow between two activities. */
  leaseSeconds: number;
  /** Tells a tenant's seal workflow that its level changed; best effort, since the workflow also looks by itself. */
  nudgeSeal: (tenantId: string, period: number) => Promise<void>;
  /** Tells a tenant's migration that the chain says something new of a handover; best effort, since it looks by itself too. */
  nudgeCustody: (tenantId: string) => Promise<void>;
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
  /** While it is not mined: what it waits for. */
  waitsFor: 'block' | 'lower-fees' | 'funds' | null;
}

/** A nonce in flight, for the operator's eyes. */
interface InFlight {
  nonce: number;
  kind: OpenNonce['kind'];
}

export type AnchoringActivities = ReturnType<typeof createAnchoringActivities>;

export function createAnchoringActivities(deps: AnchoringDependencies) {
  const { pool, chain, contract, relayer, alert, tell } = deps;
  const queue = createSealQueue(pool);
  const handovers = createHandovers(pool);
  const conditions = createConditions(alert, deps.now);
  const wallet = (): Wallet =>
    createWallet(pool, {
      chainId: deps.chainId,
      relayer: relayer.address,
      run: deps.run(),
      leaseSeconds: deps.leaseSeconds,
    });
  let refusedSince: number | undefined;
  const held = async (): Promise<Wallet> => {
    const mine = wallet();
    try {
      await mine.hold();
      refusedSince = undefined;
      conditions.clear('wallet-held');
      return mine;
    } catch (error) {
      if (failureType(error) === 'wallet-held') {
        const run = deps.run();
        tell('wallet.held', { run });
        refusedSince ??= deps.now();
        // A holder that died is waited for no longer than its lease: this one lives.
        if (deps.now() - refusedSince > 2 * deps.leaseSeconds * 1000) conditions.raise('wallet-held', { run });
      }
      throw error;
    }
  };

  async function writeLevels(changes: readonly LevelChange[]): Promise<void> {
    await queue.setLevels(changes);
    const newest = new Map(changes.map((change) => [`${change.tenantId}/${change.period}`, change]));
    await Promise.all([...newest.values()].map((change) => deps.nudgeSeal(change.tenantId, change.period)));
  }

  /** Another seal than ours stands on chain: of the tenant's own key it was signed without us. */
  async function whoseSeal(tenantId: string): Promise<'chain-differs' | 'diverged'> {
    const { rows } = await deps.pool.query('SELECT FROM kiff.logs WHERE tenant = $1 AND custody <> 1', [tenantId]);
    return rows.length > 0 ? 'diverged' : 'chain-differs';
  }

  const work: FollowDependencies = {
    ...deps,
    queue,
    handovers,
    conditions,
    writeLevels,
    freeze: async ({ tenantId, seq }) => freezeLog(deps, tenantId, await whoseSeal(tenantId), { seq }),
  };

  async function openNonce(mine: Wallet, kind: OpenNonce['kind'], data: Hex, limit: (estimate: bigint) => bigint) {
    const next = await nextNonce(work, mine);
    if (next === null) return null;
    if (typeof next !== 'number') return { nonce: next.nonce, kind: next.kind };
    const estimate = await reachable(() => chain.estimateGas({ account: relayer.address, to: contract, data }));
    const gas = limit(estimate);
    await mine.open({ nonce: next, kind, to: contract, data, gas });
    tell('tx.opened', { nonce: next, kind, gas: Number(gas) });
    return { nonce: next, kind };
  }

  return {
    /** Wakes the wallet workflow. */
    async nudgeWallet(): Promise<void> {
      await deps.nudgeWallet();
    },

    /** Gives the lease up at the end of a run. */
    async releaseWallet(): Promise<void> {
      await wallet().release();
    },

    /** The nonce in flight, or a new one for what waits in the queue. */
    async nextTransaction(): Promise<Next> {
      const mine = await held();
      const open = await mine.openNonce();
      if (open !== null) return { inFlight: { nonce: open.nonce, kind: open.kind }, early: 0 };
      // They take turns, so that a rush of new tenants holds up no seal, nor costly seals cheap ones, nor any of them a handover.
      const kinds = ['key', 'handover', 'contract', 'register'] as const;
      const turn = (((await mine.last())?.nonce ?? -1) + 1) % kinds.length;
      const seals = await readQueue(work);
      let early = 0;
      for (const kind of [...kinds.slice(turn), ...kinds.slice(0, turn)]) {
        if (kind === 'register') {
          const call = await registration(work);
          if (call === null) continue;
          return { inFlight: await openNonce(mine, 'register', call, (estimate) => (estimate * 5n) / 4n), early };
        }
        if (kind === 'handover') {
          const due = await dueHandover(work, mine);
          if (due === null) continue;
          return { inFlight: await openNonce(mine, due.kind, due.data, handoverGasLimit), early };
        }
        const found = await anchorable(work, seals[kind], kind);
        early += found.early;
        if (found.take.length === 0) continue;
        const planned = plannedGas(found.take, kind);
        const limit = (estimate: bigint) => gasLimit(estimate, planned, kind);
        return { inFlight: await openNonce(mine, 'anchor', anchorCall(found.take), limit), early };
      }
      return { inFlight: null, early };
    },

    /** Signs, stores, broadcasts and looks for the nonce in flight. @returns whether it is in a block, and what it did there */
    async advanceTransaction({ nonce }: { nonce: number }): Promise<Advance> {
      const mine = await held();
      const open = await mine.openNonce();
      if (open === null || open.nonce !== nonce) return { mined: true, reverted: false, seals: 0, waitsFor: null };
      const progress = await advance(work, mine, open);
      if (typeof progress === 'string') return { mined: false, reverted: false, seals: 0, waitsFor: progress };
      const reverted = progress.status === 'reverted';
      if (reverted) alert('transaction-reverted', { nonce, transaction: progress.transactionHash });
      const seals = await settle(work, open.data, progress);
      // Last: until this is written the receipt is looked up again, so a crash in between loses nothing.
      const mined = minedOf(progress);
      await mine.mined(nonce, mined);
      const { block, cost, hash } = mined;
      tell('tx.mined', { nonce, hash, block: Number(block.number), seals, cost: Number(cost) });
      return { mined: true, reverted, seals, waitsFor: null };
    },

    /** Follows seals that are in a block, and looks after what is final. @returns how many are not final yet */
    async confirmSeals(): Promise<{ waiting: number; final: number }> {
      return followSeals(work, await held());
    },

    /** Where a migration's handover stands on chain; null while there is none. */
    async handoverStanding({
      tenantId,
      migrationId,
    }: {
      tenantId: string;
      migrationId: string;
    }): Promise<HandoverStanding | null> {
      return handovers.standing(tenantId, migrationId);
    },

    /** Whether the relayer's money lasts. @returns hours of sealing that are left; null while nothing was spent */
    async watchRelayer(): Promise<{ hoursLeft: number | null }> {
      const balance = await reachable(() => chain.getBalance({ address: relayer.address }));
      const hours = hoursLeft(balance, await wallet().spending());
      if (hours < ALERT_BELOW_HOURS) {
        conditions.raise('relayer-low', { relayer: relayer.address, hoursLeft: Math.floor(hours) });
      } else {
        conditions.clear('relayer-low');
      }
      return { hoursLeft: Number.isFinite(hours) ? Math.floor(hours) : null };
    },
  };
}
