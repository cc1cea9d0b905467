/**
 * The signer (design section 3, wall 3). It is asked for a seal by tenant and seq, never for a digest or a root, and
 * believes nobody: not the workflow, not the product database, not KMS. What it has stated before is in its journal, and what it
 * has not stated yet it reads and hashes itself (inspect.ts).
 *
 * Crash boundaries: before `journal.state` nothing has happened. After it the statement is fixed, and whoever comes next
 * signs exactly that. After KMS signed, a signature that was not recorded is made again over the same digest. After
 * `journal.signed` the product database is told; if that is lost, the next call tells it again.
 */
import type { KMSClient } from '@aws-sdk/client-kms';
import type { Seal } from '../../protocol/eip712.ts';
import { fromHex, toHex, type Hex } from '../../protocol/hex.ts';
import { checkpointText } from '../../protocol/note.ts';
import { NO_HEAD, sealDigest, sealHash } from '../../protocol/seal.ts';
import type { LogState } from '../chain/registry.ts';
import { failure, type Alert } from '../failures.ts';
import { signDigest } from '../kms/keys.ts';
import { requireKeyPolicy, type KeyRoles } from '../kms/policy.ts';
import { tenantSchema } from '../../sql/login.ts';
import { unlessFrozen } from '../log/freeze.ts';
import { readChain, requireAgreement } from './agreement.ts';
import { tellingBlocked } from './blocked.ts';
import { noteDeaths } from './custody/deaths.ts';
import { identifyLog } from './identity.ts';
import { inspectExtension, inspectOldLeaves, inspectSeals, type Inspected } from './inspect.ts';
import type { JournalLog, Statement } from './journal.ts';
import { learnSuccessions, type LearnDependencies } from './learn.ts';
import { createSignNote } from './operator-note.ts';
import { CLOUD, currentKey, keysOf, type SignerKey } from './signer-key.ts';

/** How long a compared key policy counts as compared. */
const POLICY_CHECK_MS = 24 * 60 * 60 * 1000;

/** Stored seals that are held against the journal before a new statement; beyond that many, in turn. */
const OLD_SEALS = 1_000;

/** A key's reference in KMS: what signs. */
type KmsKey = SignerKey & { keyRef: string };

export interface SigningDependencies extends Omit<LearnDependencies, 'heartbeat'> {
  kms: KMSClient;
  host: string;
  periodSeconds: number;
  roles: KeyRoles;
  alert: Alert;
  /** Tells Temporal that the work goes on: the last seq that was signed, the last leaf that was read, the block that was searched. */
  heartbeat: (reached: { seq: number } | { leaf: number } | { block: number }) => void;
  now: () => number;
}

export type SigningActivities = ReturnType<typeof createSigningActivities>;

interface StoredSeal {
  period: number;
  tree_size: number;
  root: Buffer | null;
}

export function createSigningActivities(deps: SigningDependencies) {
  const { pool, journal, kms, registry } = deps;
  const policyCheckedAt = new Map<string, number>();
  const signNote = createSignNote(kms);

  /** After an end, a product database of before it would have the old log's records taken for the new one's. */
  async function requireSameLog({ tenantId, logId }: JournalLog): Promise<void> {
    const { rows } = await pool.query<{ log_id: Buffer }>('SELECT log_id FROM kiff.logs WHERE tenant = $1', [tenantId]);
    if (rows[0] !== undefined && toHex(rows[0].log_id) !== logId) throw failure('database-behind');
  }

  /**
   * The key that signs now. A succession that is final on chain is learned first, whether or not a migration is there to tell of it.
   * @throws failure held when the chain has one that is not final; signer-absent
   */
  async function keyFor(log: JournalLog, onChain: LogState): Promise<KmsKey> {
    const known = await currentKey(journal, log);
    const key = onChain.epoch > known.epoch ? await learnSuccessions(deps, log) : known;
    if (onChain.epoch > key.epoch) throw failure('held');
    const { keyRef } = key;
    if (keyRef === null) throw failure('signer-absent', { epoch: key.epoch });
    return { ...key, keyRef };
  }

  /** Before a key's first seal and once a day: a key of ours whose policy drifted is not used. A tenant's policy is the tenant's. */
  async function checkPolicy({ origin }: JournalLog, { custody, epoch, keyRef }: KmsKey): Promise<void> {
    if (custody !== CLOUD) return;
    const name = `${origin} ${epoch}`;
    const checked = policyCheckedAt.get(name);
    if (checked !== undefined && deps.now() - checked < POLICY_CHECK_MS) return;
    await requireKeyPolicy(kms, keyRef, 'tenant', deps.roles);
    policyCheckedAt.set(name, deps.now());
  }

  /** Nothing new goes between an acceptance and the head that it binds to. @throws failure held */
  async function requireNotHeld(log: JournalLog): Promise<void> {
    const { rows } = await pool.query('SELECT FROM kiff.logs WHERE tenant = $1 AND held_since IS NOT NULL', [
      log.tenantId,
    ]);
    if (rows.length > 0) throw failure('held');
    if (!(await journal.isHeld(log.logId))) return;
    await noteDeaths(deps, log);
    if (await journal.isHeld(log.logId)) throw failure('held');
  }

  const inspected = ({ tenantId }: JournalLog): Inspected => ({
    pool,
    tenantId,
    progress: (leaf) => deps.heartbeat({ leaf }),
  });

  /** Before something new is stated, a part of what was stated before: is it still stored as it was? */
  async function inspectPast(log: JournalLog, { seal }: Statement): Promise<void> {
    const parts = Math.ceil(seal.seq / OLD_SEALS);
    const from = (seal.seq % parts) * OLD_SEALS + 1;
    const statements = await journal.between(log.logId, from, Math.min(seal.seq, from + OLD_SEALS - 1));
    const signers = (await keysOf(journal, log)).map(({ signer }) => fromHex(signer, 20));
    await inspectSeals(pool, log.tenantId, signers, statements);
    await inspectOldLeaves(inspected(log), seal);
  }

  /** The statement for this seq: the journaled one if there is one, else a new one that extends the last. */
  async function statementFor(log: JournalLog, key: SignerKey, onChain: LogState, seq: number): Promise<Statement> {
    const { rows } = await pool.query<StoredSeal>(
      `SELECT period, tree_size, root FROM ${tenantSchema(log.tenantId)}.seals WHERE seq = $1`,
      [seq],
    );
    const stored = rows[0];
    if (stored === undefined) throw failure('seal-unknown', { seq });
    if (stored.root === null) throw failure('out-of-order', { seq });

    const last = await journal.last(log.logId);
    await requireAgreement(deps, log, key, onChain, last, seq);

    const lastSeq = last?.seal.seq ?? 0;
    if (seq > lastSeq + 1) throw failure('out-of-order', { seq, journaled: lastSeq });
    const before = seq === 1 ? null : await journal.at(log.logId, seq - 1);
    const seal: Seal = {
      logId: log.logId,
      seq,
      period: stored.period,
      treeSize: stored.tree_size,
      root: toHex(stored.root),
      // Through the acceptance that began this epoch: what the old key signed after it follows another head.
      prev: key.began?.acceptSeq === seq - 1 ? key.began.head : (before?.sealHash ?? NO_HEAD),
    };
    const hash = sealHash(seal);
    if (seq === lastSeq + 1) {
      if (before !== null && seal.period !== before.seal.period + log.periodSeconds) {
        throw failure('not-an-extension', { seq });
      }
      await inspectExtension(inspected(log), log.periodSeconds, before?.seal ?? null, seal);
      // Only now, when the contract has confirmed it, does the log's identity become a fact of the journal.
      if (last === null) await journal.openLog(log);
      await journal.state(key.epoch, seal, hash);
    }
    // Read back what stands: another process may have stated first, or this seq was stated long ago.
    const standing = await journal.at(log.logId, seq);
    if (standing === null || standing.sealHash !== hash) {
      // What is on chain cannot be asked for once more, unless the database has forgotten it.
      throw failure(onChain.seq >= seq ? 'database-behind' : 'statement-conflict', { seq });
    }
    // A recovery takes statements from the chain only. What is not there (any more) it has no business to state.
    if (standing.rebuilt && onChain.seq < seq) throw failure('statement-conflict', { seq });
    return standing;
  }

  /** The operator's signed note for a tree (C2SP tlog-checkpoint), under the log's origin as key name. */
  const checkpointFor = ({ origin }: JournalLog, { treeSize, root }: Seal): Promise<string> =>
    signNote(checkpointText({ origin, size: treeSize, root }), origin);

  /** The statement's signatures: those in the journal, or new ones, of which the first recorded pair stands. */
  async function signaturesOf(
    log: JournalLog,
    { signer, keyRef }: SignerKey,
    statement: Statement,
  ): Promise<{ signature: Hex; checkpoint: string }> {
    const { seal, epoch } = statement;
    if (statement.signature !== null && statement.checkpoint !== null) {
      return { signature: statement.signature, checkpoint: statement.checkpoint };
    }
    const digest = sealDigest(registry, seal);
    if (keyRef === null) throw failure('signer-absent', { epoch });
    const signature = await signDigest(kms, keyRef, digest, signer);
    await journal.signed(log.logId, epoch, seal.seq, signature, await checkpointFor(log, seal));
    const kept = await journal.at(log.logId, seal.seq);
    if (kept === null || kept.signature === null || kept.checkpoint === null) throw failure('unexpected');
    return { signature: kept.signature, checkpoint: kept.checkpoint };
  }

  /** Signs one seal and records the signature. */
  async function signOne(log: JournalLog, key: KmsKey, onChain: LogState, seq: number): Promise<Hex> {
    const statement = await statementFor(log, key, onChain, seq);
    // What was stated in an earlier epoch is that epoch's key's.
    const by = statement.epoch === key.epoch ? key : (await keysOf(journal, log))[statement.epoch];
    if (by === undefined) throw failure('unexpected');
    const { signature, checkpoint } = await signaturesOf(log, by, statement);
    await pool.query(`SELECT ${tenantSchema(log.tenantId)}.record_signature($1, $2, $3, $4, $5, $6, $7)`, [
      seq,
      Buffer.from(fromHex(statement.seal.prev, 32)),
      Buffer.from(fromHex(statement.sealHash, 32)),
      statement.epoch,
      Buffer.from(fromHex(by.signer, 20)),
      Buffer.from(fromHex(signature, 65)),
      checkpoint,
    ]);
    return statement.sealHash;
  }

  return {
    /**
     * Signs seals of one log, one after the other; each is judged by itself. Asked again after an interruption, it finds what
     * is signed and goes on.
     * @param seqs ascending
     * @returns the seals' struct hashes, in the same order
     * @throws failures of failures.ts; those that say that two stories are told freeze the log
     */
    async signSeals({ tenantId, seqs }: { tenantId: string; seqs: number[] }): Promise<Hex[]> {
      return unlessFrozen(deps, tenantId, () =>
        tellingBlocked(deps, tenantId, async () => {
          const log = await identifyLog(deps, tenantId);
          await requireSameLog(log);
          const onChain = await readChain(deps, log);
          const key = await keyFor(log, onChain);
          await checkPolicy(log, key);
          const last = await journal.last(log.logId);
          if (seqs.some((seq) => seq > (last?.seal.seq ?? 0))) {
            await requireNotHeld(log);
            if (last !== null) await inspectPast(log, last);
          }
          const hashes: Hex[] = [];
          for (const seq of seqs) {
            hashes.push(await signOne(log, key, onChain, seq));
            deps.heartbeat({ seq });
          }
          return hashes;
        }),
      );
    },
  };
}
