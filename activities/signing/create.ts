/**
 * The signer (design section 3, wall 3). It is asked for a seal by tenant and seq, never for a digest or a root, and
 * believes nobody: not the workflow, not the product database, not KMS. What it has stated before is in its journal, and what it
 * has not stated yet it reads and hashes itself (inspect.ts).
 *
 * Crash boundaries: before `journal.state` nothing has happened. After it the statement is fixed, and whoever comes next
 * signs exactly that. After KMS signed, a signature that was not recorded is made again over the same digest. After
 * `journal.signed` the product database is told; if that is lost, the next call tells it again. A key that is not ours may be away:
 * so the operator's checkpoint of every tree is journaled and published first, and then the key is asked.
 *
 * Past 10 KB because it is one straight path, whose steps are each other's guards.
 */
import type { KMSClient } from '@aws-sdk/client-kms';
import { SEAL, type Seal } from '../../protocol/eip712.ts';
import { fromHex, toHex, type Hex } from '../../protocol/hex.ts';
import { checkpointText } from '../../protocol/note.ts';
import { NO_HEAD, sealDigest, sealHash } from '../../protocol/seal.ts';
import type { LogState } from '../chain/registry.ts';
import { failure, type Alert } from '../failures.ts';
import { signDigest } from '../kms/keys.ts';
import { requireKeyPolicy, type KeyRoles } from '../kms/policy.ts';
import { tenantSchema } from '../../sql/login.ts';
import { unlessFrozen } from '../log/freeze.ts';
import { aboutSeal, createAgent, type Asked } from './agent.ts';
import { readChain, requireAgreement } from './agreement.ts';
import { tellingBlocked } from './blocked.ts';
import { noteDeaths } from './custody/deaths.ts';
import { identifyLog } from './identity.ts';
import { inspectExtension, inspectOldLeaves, inspectSeals, type Inspected } from './inspect.ts';
import type { JournalLog, Statement } from './journal.ts';
import { learnSuccessions, type LearnDependencies } from './learn.ts';
import { createSignNote } from './operator-note.ts';
import { CLOUD, currentKey, keysOf, TENANT_AGENT, type SignerKey } from './signer-key.ts';

/** How long a compared key policy counts as compared. */
const POLICY_CHECK_MS = 24 * 60 * 60 * 1000;

/** Stored seals that are held against the journal before a new statement; beyond that many, in turn. */
const OLD_SEALS = 1_000;

/** Seals whose checkpoints are published beyond those that were asked for, while a key that is not ours is away. */
const PUBLISHED_AHEAD = 200;

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
  const agent = createAgent(deps);

  /** After an end, a product database of before it would have the old log's records taken for the new one's. */
  async function requireSameLog({ tenantId, logId }: JournalLog): Promise<void> {
    const { rows } = await pool.query<{ log_id: Buffer }>('SELECT log_id FROM kiff.logs WHERE tenant = $1', [tenantId]);
    if (rows[0] !== undefined && toHex(rows[0].log_id) !== logId) throw failure('database-behind');
  }

  /**
   * The key that signs now. A succession that is final on chain is learned first, whether or not a migration is there to tell of it.
   * @throws failure held when the chain has one that is not final
   */
  async function keyFor(log: JournalLog, onChain: LogState): Promise<SignerKey> {
    const known = await currentKey(journal, log);
    const key = onChain.epoch > known.epoch ? await learnSuccessions(deps, log) : known;
    if (onChain.epoch > key.epoch) throw failure('held');
    return key;
  }

  /** Before a key's first seal and once a day: a key of ours whose policy drifted is not used. A tenant's policy is the tenant's. */
  async function checkPolicy({ origin }: JournalLog, { custody, epoch, keyRef }: SignerKey): Promise<void> {
    if (custody !== CLOUD || keyRef === null) return;
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

  /** The operator's signed note for a tree (C2SP tlog-checkpoint), under the log's origin as key name; the first one stands. */
  async function checkpointOf({ logId, origin }: JournalLog, { seal, epoch, checkpoint }: Statement): Promise<string> {
    if (checkpoint !== null) return checkpoint;
    const note = await signNote(checkpointText({ origin, size: seal.treeSize, root: seal.root }), origin);
    await journal.checkpointed(logId, epoch, seal.seq, note);
    const kept = await journal.at(logId, seal.seq);
    if (kept === null || kept.checkpoint === null) throw failure('unexpected');
    return kept.checkpoint;
  }

  /** Asks the tenant's own signer for a seal. */
  async function askFor({ tenantId, logId }: JournalLog, { signer }: SignerKey, statement: Statement): Promise<Asked> {
    const { seal } = statement;
    const before = seal.seq === 1 ? null : await journal.at(logId, seal.seq - 1);
    return agent.ask<Seal>({
      tenantId,
      kind: 'seal',
      migrationId: null,
      signer,
      type: SEAL,
      statement: seal,
      seq: seal.seq,
      about: aboutSeal(statement, before),
    });
  }

  /** The key's signature over a statement: ours and tenants' KMS keys are called, a tenant's own signer is asked and waited for. */
  async function sign(log: JournalLog, key: SignerKey, statement: Statement): Promise<Hex> {
    const { seal, epoch } = statement;
    const asked = key.custody === TENANT_AGENT ? await askFor(log, key, statement) : null;
    if (statement.signature !== null) {
      if (asked !== null) await agent.close(asked);
      return statement.signature;
    }
    if (asked === null && key.keyRef === null) throw failure('signer-absent', { epoch });
    const signature =
      asked === null
        ? await signDigest(kms, key.keyRef ?? '', sealDigest(registry, seal), key.signer)
        : await agent.waitFor(asked);
    await journal.signed(log.logId, epoch, seal.seq, signature);
    const kept = await journal.at(log.logId, seal.seq);
    if (kept === null || kept.signature === null) throw failure('unexpected');
    if (asked !== null) await agent.close(asked);
    return kept.signature;
  }

  /** Signs one seal and records the signature. */
  async function signOne(log: JournalLog, key: SignerKey, onChain: LogState, seq: number): Promise<Hex> {
    const statement = await statementFor(log, key, onChain, seq);
    // What was stated in an earlier epoch is that epoch's key's.
    const by = statement.epoch === key.epoch ? key : (await keysOf(journal, log))[statement.epoch];
    if (by === undefined) throw failure('unexpected');
    const signature = await sign(log, by, statement);
    const checkpoint = await checkpointOf(log, statement);
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

  /**
   * States seals, publishes their trees under the operator's checkpoint, and asks the tenant's own signer for all of them at once:
   * what does not wait for the key.
   */
  async function publish(log: JournalLog, key: SignerKey, onChain: LogState, seqs: readonly number[]): Promise<void> {
    for (const seq of seqs) {
      const statement = await statementFor(log, key, onChain, seq);
      const checkpoint = await checkpointOf(log, statement);
      await pool.query(`SELECT ${tenantSchema(log.tenantId)}.record_checkpoint($1, $2, $3)`, [
        seq,
        Buffer.from(fromHex(statement.seal.root, 32)),
        checkpoint,
      ]);
      if (key.custody === TENANT_AGENT && statement.epoch === key.epoch) await askFor(log, key, statement);
      deps.heartbeat({ seq });
    }
  }

  /** Seals with a root behind `after` that were not published, or (after a succession) not stated again yet. */
  async function unpublished({ tenantId }: JournalLog, after: number, stated: number): Promise<number[]> {
    const { rows } = await pool.query<{ seq: number }>(
      `SELECT seq FROM ${tenantSchema(tenantId)}.seals
        WHERE seq > $1 AND level = 'hashed' AND (checkpoint IS NULL OR seq > $2) ORDER BY seq LIMIT $3`,
      [after, stated, PUBLISHED_AHEAD],
    );
    return rows.map(({ seq }) => seq);
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
          const ahead = key.custody === CLOUD ? [] : await unpublished(log, Math.max(0, ...seqs), last?.seal.seq ?? 0);
          if ([...seqs, ...ahead].some((seq) => seq > (last?.seal.seq ?? 0))) {
            await requireNotHeld(log);
            if (last !== null) await inspectPast(log, last);
          }
          if (key.custody !== CLOUD) await publish(log, key, onChain, [...seqs, ...ahead]);
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
