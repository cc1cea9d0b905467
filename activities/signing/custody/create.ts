/**
 * What the signer does in a migration of custody (design section 7, wall 3). It is asked by tenant and migration, never for a digest,
 * and verifies every piece of evidence again by itself; what a workflow says has been done counts for nothing.
 *
 * Crash boundaries: each statement is a row of the journal before a key is asked to sign it. After it, whoever comes next signs
 * exactly that; a signature that was not kept is made again over the same digest. The two that cannot be taken back are
 * `release` (before the old key signs a Handover: it lives until it is cancelled on chain or has expired) and `accept` (before
 * the new key signs HandoverAccept: the point of no return).
 *
 * Past 10 KB because it is one straight path, whose steps are each other's guards.
 */
import { sha256 } from '@noble/hashes/sha2.js';
import {
  CUSTODY_PROOF,
  HANDOVER,
  HANDOVER_ACCEPT,
  HANDOVER_CANCEL,
  hashStruct,
  SEAL,
  typedDigest,
  type Handover,
  type HandoverAccept,
  type HandoverCancel,
} from '../../../protocol/eip712.ts';
import { handoverAcceptHash, handoverCancelHash, handoverHash } from '../../../protocol/handover.ts';
import { fromHex, toHex, utf8, type Hex } from '../../../protocol/hex.ts';
import { recoverSigner } from '../../../protocol/signature.ts';
import { registryAbi } from '../../../contracts/registry.ts';
import { reachable } from '../../chain/registry.ts';
import { failure, failureType, type Alert } from '../../failures.ts';
import { signDigest } from '../../kms/keys.ts';
import { requireSignAllowed } from '../../kms/tenant-key.ts';
import { unlessFrozen } from '../../log/freeze.ts';
import { aboutSeal, createAgent, withoutLog, type Question } from '../agent.ts';
import { readChain, requireAgreement } from '../agreement.ts';
import { identifyLog } from '../identity.ts';
import { learnSuccessions, type LearnDependencies } from '../learn.ts';
import { TENANT_AGENT, type SignerKey } from '../signer-key.ts';
import { certificateOf } from './certificate.ts';
import { noteDeaths } from './deaths.ts';
import { createEvidence, type EvidenceDependencies, type Verdict } from './evidence.ts';
import type { JournaledHandover } from './journal.ts';
import { readMigration, requireCurrent, type Migration, type MigrationDependencies } from './migration.ts';
import { judgeNewSigner, type NewSigner, type NewSignerDependencies } from './new-signer.ts';
import { snapshotOf, type KeySnapshot } from './snapshot.ts';

export interface CustodySigningDependencies
  extends MigrationDependencies, LearnDependencies, NewSignerDependencies, Omit<EvidenceDependencies, 'registry'> {
  alert: Alert;
  now: () => number;
}

export type CustodySigningActivities = ReturnType<typeof createCustodySigningActivities>;

interface MigrationRef {
  tenantId: string;
  migrationId: string;
}

/** Admins who must have approved, and seals that the new signer must have signed on trial. Not policy: the least there is. */
const APPROVALS = 2;
const TRIAL_SEALS = 2;
/** A tenant's own signer that waits for work is seen more often than that; what cannot be taken back is asked of no other. */
const THERE_SECONDS = 12;

const bytes = (hex: Hex): Buffer => Buffer.from(fromHex(hex));

export function createCustodySigningActivities(deps: CustodySigningDependencies) {
  const { pool, journal, custodyJournal, kms, chain, registry } = deps;
  const evidence = createEvidence(deps);
  const agent = createAgent(deps);

  const inTime = async (ref: MigrationRef): Promise<Migration> => {
    const migration = await readMigration(deps, ref);
    requireCurrent(migration);
    if (await evidence.isStopped(migration)) throw failure('custody-stopped');
    // A log's identity is a fact of the journal from its first seal on.
    if ((await journal.last(migration.log.logId)) === null) throw failure('out-of-order');
    return migration;
  };

  /** The key that the approvals name, looked at once more. @throws failure custody-refused */
  async function requireNewSigner(migration: Migration): Promise<{ newSigner: Hex; keyRef: string | null }> {
    const judged = await judgeNewSigner(deps, migration);
    if (!judged.ok || judged.newSigner !== migration.newSigner) throw failure('custody-refused');
    return judged;
  }

  /**
   * One key's signature over one statement; the first that was kept stands. A key without a reference is a tenant's own signer's: it is
   * asked, and waited for as long as it is there.
   * @throws failures signer-absent, signer-declined; those of KMS
   */
  async function signed<T extends { readonly logId: Hex }>(
    { id, log }: Migration,
    { signer, keyRef }: Pick<SignerKey, 'signer' | 'keyRef'>,
    what: Pick<Question<T>, 'kind' | 'type' | 'statement'> & { about?: Question['about'] },
  ): Promise<Hex> {
    const { kind, type, statement } = what;
    const { logId } = statement;
    const structHash = hashStruct(type, statement);
    const known = await custodyJournal.signature(logId, structHash, signer);
    if (keyRef !== null) {
      if (known !== null) return known;
      const made = await signDigest(kms, keyRef, typedDigest(registry, structHash), signer);
      return custodyJournal.keepSignature(logId, structHash, signer, made);
    }
    const about = what.about ?? { message: statement };
    const asked = await agent.ask<T>({
      tenantId: log.tenantId,
      kind,
      migrationId: id,
      signer,
      type,
      statement,
      about,
    });
    const kept = known ?? (await custodyJournal.keepSignature(logId, structHash, signer, await agent.waitFor(asked)));
    await agent.close(asked);
    return kept;
  }

  /** Whether a key would sign now, as far as can be known without a signature. @throws failures signer-absent; those of KMS */
  async function requireThere({ log }: Migration, keyRef: string | null): Promise<void> {
    if (keyRef !== null) await requireSignAllowed(kms, keyRef);
    else if (!(await agent.isThere(log.tenantId, THERE_SECONDS))) throw failure('signer-absent');
  }

  /** Everything that must have been proved before the old key signs. @throws failure custody-refused */
  async function requireProved(migration: Migration, newSigner: Hex): Promise<void> {
    const { log, nonce } = migration;
    const { admins } = await evidence.approvals(migration);
    const proof = await custodyJournal.proofOf(log.logId, nonce, newSigner);
    const trial = await custodyJournal.shadows(log.logId, nonce, newSigner);
    if (admins < APPROVALS || proof === null || trial.length < TRIAL_SEALS) throw failure('custody-refused');
    await requireRecovers(migration, proof, newSigner);
    for (const { sealHash } of trial) await requireRecovers(migration, sealHash, newSigner);
  }

  /** What the journal kept is verified again: it may have been another process that kept it. */
  async function requireRecovers({ log }: Migration, structHash: Hex, signer: Hex): Promise<void> {
    const kept = await custodyJournal.signature(log.logId, structHash, signer);
    if (kept === null || recoverSigner(typedDigest(registry, structHash), kept) !== signer)
      throw failure('custody-refused');
  }

  /** The chain is in the epoch that the journal is in, and agrees with it. */
  async function requireChainAgrees({ log, key }: Migration): Promise<Awaited<ReturnType<typeof readChain>>> {
    const state = await readChain(deps, log);
    const last = await journal.last(log.logId);
    await requireAgreement(deps, log, key, state, last, last?.seal.seq ?? 0);
    return state;
  }

  const blockTime = (number: bigint): Promise<number> =>
    chain.read(async (endpoint) =>
      Number((await reachable(() => endpoint.getBlock({ blockNumber: number }))).timestamp),
    );

  /** The terms of the migration's handover: those that were fixed first, or new ones that begin with the chain's time. */
  async function termsOf(migration: Migration, newSigner: Hex, keyRef: string | null): Promise<JournaledHandover> {
    const { log, nonce, key, epochTo, custody, handoverExpiry } = migration;
    const fixed = await custodyJournal.termsOf(log.logId, nonce);
    if (fixed === null) {
      const { number } = await chain.newest('latest');
      const notBefore = await blockTime(number);
      const handover: Handover = {
        logId: log.logId,
        epochTo,
        from: key.signer,
        to: newSigner,
        custody,
        notBefore,
        expiresAt: notBefore + handoverExpiry,
        nonce,
      };
      await custodyJournal.fixTerms({ handover, handoverHash: handoverHash(handover), keyRef });
    }
    const terms = fixed ?? (await custodyJournal.termsOf(log.logId, nonce));
    const { from, to } = terms?.handover ?? {};
    if (terms === null || from !== key.signer || to !== newSigner || terms.keyRef !== keyRef)
      throw failure('custody-refused');
    return terms;
  }

  /** The migration's handover, if the old key was ever asked for it. */
  async function releasedOf({ log, nonce }: Migration): Promise<JournaledHandover | null> {
    const terms = await custodyJournal.termsOf(log.logId, nonce);
    return terms !== null && (await custodyJournal.isReleased(log.logId, terms.handoverHash)) ? terms : null;
  }

  async function recordAcceptance(
    migration: Migration,
    { handoverHash: hash, keyRef, handover }: JournaledHandover,
    { seq, head, structHash }: { seq: number; head: Hex; structHash: Hex },
  ): Promise<{ seq: number; head: Hex }> {
    requireReachable({ ...migration.key, custody: handover.custody, keyRef });
    const { logId } = migration.log;
    const statement: HandoverAccept = { logId, epochTo: handover.epochTo, handoverHash: hash, seq, head };
    const last = seq === 0 ? null : await journal.at(logId, seq);
    const signature = await signed(
      migration,
      { signer: handover.to, keyRef },
      {
        kind: 'accept',
        type: HANDOVER_ACCEPT,
        statement,
        // What the new signer takes over, for it to look at: the head is this seal's, unless another acceptance came after it.
        about: { message: statement, standing: last && withoutLog(last.seal) },
      },
    );
    await pool.query('SELECT kiff.record_acceptance($1, $2, $3, $4, $5, $6)', [
      bytes(migration.log.logId),
      bytes(hash),
      seq,
      bytes(head),
      bytes(structHash),
      bytes(signature),
    ]);
    return { seq, head: structHash };
  }

  return {
    /** Looks at the key that a migration names. @returns the new signer, or the fixed word why it is not taken (faults C10, B21) */
    async identifySigner(ref: MigrationRef): Promise<NewSigner> {
      const migration = await readMigration(deps, ref);
      requireCurrent(migration);
      return judgeNewSigner(deps, migration);
    },

    /** Judges one command of the custody API against the moment at which it arrived. It finishes nothing. */
    async checkEvidence({ tenantId, commandId }: { tenantId: string; commandId: number }): Promise<Verdict> {
      return evidence.judge(tenantId, commandId, async (migrationId) => {
        try {
          return await readMigration(deps, { tenantId, migrationId });
        } catch (error) {
          if (failureType(error) === 'custody-refused') return null;
          throw error;
        }
      });
    },

    /** How many different admins' approvals are good now, by which commands. */
    async approvals(ref: MigrationRef): Promise<{ admins: number; commandIds: number[] }> {
      return evidence.approvals(await readMigration(deps, ref));
    },

    /** The old key as it is before anything is done to it. */
    async snapshotKey(ref: MigrationRef): Promise<KeySnapshot> {
      const { key } = await readMigration(deps, ref);
      return snapshotOf(kms, key);
    },

    /** The new key shows that it is there. @throws failure custody-refused when the nonce was used, or its time is over */
    async custodyProof(ref: MigrationRef): Promise<{ signature: Hex }> {
      const migration = await inTime(ref);
      const { log, nonce, approvalsExpireAt: expiresAt } = migration;
      const { newSigner, keyRef } = await requireNewSigner(migration);
      const statement = { logId: log.logId, newSigner, nonce, expiresAt };
      const structHash = hashStruct(CUSTODY_PROOF, statement);
      if ((await custodyJournal.proofOf(log.logId, nonce, newSigner)) === null) {
        if (deps.now() / 1000 > expiresAt) throw failure('custody-refused');
        await custodyJournal.prove(log.logId, { nonce, newSigner, expiresAt, structHash });
      }
      if ((await custodyJournal.proofOf(log.logId, nonce, newSigner)) !== structHash) throw failure('custody-refused');
      const proof = { kind: 'proof', type: CUSTODY_PROOF, statement } as const;
      return { signature: await signed(migration, { signer: newSigner, keyRef }, proof) };
    },

    /**
     * The new key signs a real seal on trial: one that the old key has stated, and no other, so that it can be of no use (fault C16).
     * @throws failure seal-unknown when no such statement stands
     */
    async shadowSeal(ref: MigrationRef & { seq: number }): Promise<{ shadowHash: Hex; signature: Hex }> {
      const migration = await inTime(ref);
      const { log, nonce } = migration;
      const { newSigner, keyRef } = await requireNewSigner(migration);
      const statement = await journal.at(log.logId, ref.seq);
      if (statement === null || statement.rebuilt) throw failure('seal-unknown', { seq: ref.seq });
      await custodyJournal.shadow(log.logId, { nonce, epoch: statement.epoch, seq: ref.seq, newSigner });
      const before = ref.seq === 1 ? null : await journal.at(log.logId, ref.seq - 1);
      const signature = await signed(
        migration,
        { signer: newSigner, keyRef },
        { kind: 'shadow', type: SEAL, statement: statement.seal, about: aboutSeal(statement, before) },
      );
      return { shadowHash: statement.sealHash, signature };
    },

    /**
     * The handover: the new key signs first, the old key last, after everything was verified once more.
     * @throws failures custody-refused, custody-stopped, handover-live, handover-dead; held, chain-ahead, chain-differs
     */
    async handover(ref: MigrationRef): Promise<{ handoverHash: Hex }> {
      return unlessFrozen(deps, ref.tenantId, async () => {
        const migration = await inTime(ref);
        const { log, key } = migration;
        requireReachable(key);
        const { newSigner, keyRef } = await requireNewSigner(migration);
        await requireProved(migration, newSigner);
        await requireChainAgrees(migration);
        await noteDeaths(deps, log);
        const terms = await termsOf(migration, newSigner, keyRef);
        const { handoverHash: hash, handover } = terms;
        if (await custodyJournal.isDead(log.logId, hash)) throw failure('handover-dead');
        const both = { kind: 'handover', type: HANDOVER, statement: handover } as const;
        const toSignature = await signed(migration, { signer: newSigner, keyRef }, both);
        await recordHandover(migration.id, terms, toSignature, null);
        // A key that would refuse leaves nothing behind that lives.
        await requireThere(migration, key.keyRef);
        await custodyJournal.release(log.logId, hash);
        const fromSignature = await signed(migration, { signer: handover.from, keyRef: key.keyRef }, both);
        await recordHandover(migration.id, terms, toSignature, fromSignature);
        return { handoverHash: hash };
      });
    },

    /**
     * The new key accepts, over the head that stands once every signed seal is in a block: the point of no return.
     * @returns `head`: the acceptance's struct hash, the log's next head
     * @throws failures acceptance-early (ask again), custody-refused, custody-stopped, handover-dead, signer-absent
     */
    async handoverAccept(ref: MigrationRef): Promise<{ seq: number; head: Hex }> {
      return unlessFrozen(deps, ref.tenantId, async () => {
        const migration = await readMigration(deps, ref);
        const { log } = migration;
        const terms = await releasedOf(migration);
        if (terms === null) throw failure('custody-refused');
        const stated = await custodyJournal.acceptance(log.logId, terms.handoverHash);
        if (stated !== null) return recordAcceptance(migration, terms, stated);

        requireCurrent(migration);
        if (await evidence.isStopped(migration)) throw failure('custody-stopped');
        await noteDeaths(deps, log);
        if (await custodyJournal.isDead(log.logId, terms.handoverHash)) throw failure('handover-dead');
        // An absent key must leave the log free.
        await requireThere(migration, terms.keyRef);
        await requireProposed(log.logId, terms);
        const state = await requireChainAgrees(migration);
        const { seq, head } = await custodyJournal.head(log.logId);
        if (state.seq !== seq || state.head !== head) throw failure('acceptance-early', { seq });
        const { handoverHash: hash, handover } = terms;
        const accept: HandoverAccept = { logId: log.logId, epochTo: handover.epochTo, handoverHash: hash, seq, head };
        await custodyJournal.accept(log.logId, hash, { seq, head, structHash: handoverAcceptHash(accept) });
        const standing = await custodyJournal.acceptance(log.logId, hash);
        if (standing === null) throw failure('unexpected');
        return recordAcceptance(migration, terms, standing);
      });
    },

    /**
     * Kills a handover that the old key has signed, by whichever of the two keys answers.
     * @returns null when there is none: nothing of it lives
     * @throws failure past-no-return once the acceptance was stated
     */
    async handoverCancel(ref: MigrationRef): Promise<{ handoverHash: Hex } | null> {
      const migration = await readMigration(deps, ref);
      const { log, key } = migration;
      const terms = await releasedOf(migration);
      if (terms === null) return null;
      const { handover, handoverHash: hash } = terms;
      const cancel: HandoverCancel = { logId: log.logId, epochTo: handover.epochTo, handoverHash: hash };
      await custodyJournal.cancel(log.logId, hash, handoverCancelHash(cancel));
      const keys = [
        { signer: handover.from, keyRef: key.signer === handover.from ? key.keyRef : null },
        { signer: handover.to, keyRef: terms.keyRef },
      ];
      // Those that we call first: a tenant's own signer may be away for long.
      const by = await firstThatSigns(migration, cancel, [
        ...keys.filter(({ keyRef }) => keyRef !== null),
        ...keys.filter(({ keyRef }) => keyRef === null),
      ]);
      await pool.query('SELECT kiff.record_cancellation($1, $2, $3, $4)', [
        bytes(log.logId),
        bytes(hash),
        bytes(by.signer),
        bytes(by.signature),
      ]);
      return { handoverHash: hash };
    },

    /**
     * Makes the certificate of a migration whose acceptance is final, and keeps it where the tenant reads it. The first stands.
     * @returns its SHA-256
     */
    async certificate(ref: MigrationRef): Promise<{ sha256: Hex }> {
      const made = JSON.stringify(await certificateOf({ pool, registry, evidence }, await readMigration(deps, ref)));
      await pool.query('SELECT kiff.keep_custody_certificate($1, $2)', [ref.migrationId, made]);
      return { sha256: toHex(sha256(utf8(made))) };
    },

    /** Learns from the chain who signs. @returns the epoch that the journal is in */
    async learnSuccession({ tenantId }: { tenantId: string }): Promise<{ epoch: number }> {
      return unlessFrozen(deps, tenantId, async () => {
        const log = await identifyLog(deps, tenantId);
        const { epoch } = await learnSuccessions(deps, log);
        await noteDeaths(deps, log);
        return { epoch };
      });
    },
  };

  async function recordHandover(
    migrationId: string,
    { handover, handoverHash: hash }: JournaledHandover,
    toSignature: Hex,
    fromSignature: Hex | null,
  ): Promise<void> {
    await pool.query('SELECT kiff.record_handover($1, $2, $3, $4, $5, $6)', [
      migrationId,
      bytes(hash),
      handover.notBefore,
      handover.expiresAt,
      bytes(toSignature),
      fromSignature === null ? null : bytes(fromSignature),
    ]);
  }

  /** The proposal is final, and its cooling-off over by the newest block's time. @throws failure acceptance-early, handover-dead */
  async function requireProposed(logId: Hex, { handover, handoverHash: hash }: JournaledHandover): Promise<void> {
    const { number } = await chain.newest('finalized');
    const [pending, eta] = await chain.read((endpoint) =>
      reachable(() =>
        endpoint.readContract({
          address: registry.contract,
          abi: registryAbi,
          functionName: 'pendingHandover',
          args: [logId],
          blockNumber: number,
        }),
      ),
    );
    const time = await blockTime((await chain.newest('latest')).number);
    if (time > handover.expiresAt) throw failure('handover-dead');
    if (pending !== hash || BigInt(time) < eta) throw failure('acceptance-early');
  }

  /** @throws the last key's failure when none signs */
  async function firstThatSigns(
    migration: Migration,
    statement: HandoverCancel,
    keys: readonly Pick<SignerKey, 'signer' | 'keyRef'>[],
  ): Promise<{ signer: Hex; signature: Hex }> {
    let last: unknown = failure('signer-absent');
    const cancel = { kind: 'cancel', type: HANDOVER_CANCEL, statement } as const;
    for (const key of keys) {
      try {
        return { signer: key.signer, signature: await signed(migration, key, cancel) };
      } catch (error) {
        last = error;
      }
    }
    throw last;
  }
}

/** A key that we neither call nor may ask is nobody's. @throws failure signer-absent */
function requireReachable({ custody, keyRef, epoch }: SignerKey): void {
  if (keyRef === null && custody !== TENANT_AGENT) throw failure('signer-absent', { epoch });
}
