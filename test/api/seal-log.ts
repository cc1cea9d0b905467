/** Seals a test tenant's log with a key of the test's own: the steps of the workflow, each with its worker's login. */
import { generateKeyPairSync, sign } from 'node:crypto';
import type { Pool } from 'pg';
import { privateKeyToAccount } from 'viem/accounts';
import { createPool } from '../../activities/database.ts';
import { hashCollectedSeals } from '../../activities/log/hash.ts';
import { fromHex, toHex, type Hex } from '../../protocol/hex.ts';
import { checkpointText, signedNote } from '../../protocol/note.ts';
import { NO_HEAD, sealDigest, sealHash } from '../../protocol/seal.ts';
import type { ProductDatabase, TestTenant } from '../product-database.ts';

interface HashedSeal {
  seq: number;
  period: number;
  tree_size: number;
  root: Buffer;
}

export const SIGNER_KEY: Hex = `0x${'42'.repeat(32)}`;
export const SIGNER = privateKeyToAccount(SIGNER_KEY).address.toLowerCase() as Hex;

export class LogSealer {
  private readonly db: ProductDatabase;
  private readonly tenant: TestTenant;
  private readonly sealing: Pool;
  private readonly signing: Pool;
  private readonly anchoring: Pool;
  private readonly operator = generateKeyPairSync('ed25519');
  private prev: Hex = NO_HEAD;

  /** The tenant's genesis signer is SIGNER. */
  constructor(db: ProductDatabase, tenant: TestTenant) {
    this.db = db;
    this.tenant = tenant;
    this.sealing = createPool(db.urls.kiff_sealing, 1);
    this.signing = createPool(db.urls.kiff_signing, 1);
    this.anchoring = createPool(db.urls.kiff_anchoring, 1);
  }

  /** The operator's public key, which checkpoints are signed with. */
  get operatorKey(): Hex {
    return toHex(this.operator.publicKey.export({ format: 'der', type: 'spki' }).subarray(-32));
  }

  /** Cuts every period up to the one that is running now, as soon as that is over; returns the last seal's seq. */
  async collect(): Promise<number> {
    const { rows } = await this.sealing.query<{ now: number }>(
      'SELECT extract(epoch FROM clock_timestamp())::float8 AS now',
    );
    const period = Math.floor(rows[0]!.now / this.db.periodSeconds) * this.db.periodSeconds;
    for (;;) {
      try {
        const cut = await this.sealing.query<{ seq: number }>(`SELECT seq FROM ${this.tenant.role}.collect($1)`, [
          period,
        ]);
        return cut.rows[0]!.seq;
      } catch (error) {
        if ((error as { code?: string }).code !== 'KF004') throw error; // KF004: the period is not over yet
      }
    }
  }

  async hash(seq: number): Promise<void> {
    await hashCollectedSeals(this.sealing, this.tenant.id, seq, () => undefined);
  }

  /** Signs every hashed seal, in order. */
  async sign(): Promise<void> {
    const { rows } = await this.signing.query<HashedSeal>(
      `SELECT seq, period, tree_size, root FROM ${this.tenant.role}.seals WHERE level = 'hashed' ORDER BY seq`,
    );
    for (const row of rows) {
      const seal = {
        logId: this.tenant.logId,
        seq: row.seq,
        period: row.period,
        treeSize: row.tree_size,
        root: toHex(row.root),
        prev: this.prev,
      };
      const digest = sealDigest({ chainId: this.db.chainId, contract: this.db.contract }, seal);
      const signature = await privateKeyToAccount(SIGNER_KEY).sign({ hash: digest });
      await this.signing.query(`SELECT ${this.tenant.role}.record_signature($1, $2, $3, 0, $4, $5, $6)`, [
        row.seq,
        bytes(this.prev),
        bytes(sealHash(seal)),
        bytes(SIGNER),
        bytes(signature),
        this.checkpoint(row.tree_size, seal.root),
      ]);
      this.prev = sealHash(seal);
    }
  }

  /** The operator's note for a tree. */
  private checkpoint(size: number, root: Hex): string {
    const { origin } = this.tenant;
    const note = checkpointText({ origin, size, root });
    const signature = sign(null, Buffer.from(note), this.operator.privateKey);
    return signedNote(note, origin, this.operatorKey, toHex(signature));
  }

  /** Writes the level of every signed seal up to `seq`; chain coordinates are made up. */
  async setLevel(seq: number, level: 'sealed' | 'included' | 'safe' | 'final'): Promise<void> {
    const seqs = Array.from({ length: seq }, (_, at) => at + 1);
    const onChain = level !== 'sealed';
    await this.anchoring.query('SELECT kiff.set_levels($1, $2, $3, $4, $5, $6, $7)', [
      seqs.map(() => this.tenant.id),
      seqs,
      seqs.map(() => level),
      seqs.map(() => (onChain ? Buffer.alloc(32, 0xaa) : null)),
      seqs.map((each) => (onChain ? 1_000 + each : null)),
      seqs.map(() => (onChain ? Buffer.alloc(32, 0xbb) : null)),
      seqs.map((each) => (onChain ? each : null)),
    ]);
  }

  async close(): Promise<void> {
    await Promise.all([this.sealing.end(), this.signing.end(), this.anchoring.end()]);
  }
}

function bytes(hex: Hex): Buffer {
  return Buffer.from(fromHex(hex));
}
