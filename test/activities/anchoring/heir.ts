/**
 * A log whose keys are at hand, and its successions: migrations, handovers, acceptances and cancellations signed here and put
 * where the signer puts them, with its login. For what sends, follows and cuts over; what is signed when is not the subject.
 */
import { encodeFunctionData, type LocalAccount } from 'viem';
import { createPool } from '../../../activities/database.ts';
import { registryAbi } from '../../../contracts/registry.ts';
import type { Handover, HandoverAccept } from '../../../protocol/eip712.ts';
import {
  handoverAcceptDigest,
  handoverAcceptHash,
  handoverCancelDigest,
  handoverDigest,
  handoverHash,
} from '../../../protocol/handover.ts';
import { fromHex, toHex, type Hex } from '../../../protocol/hex.ts';
import { NO_HEAD, sealDigest, sealHash } from '../../../protocol/seal.ts';
import { key } from '../../contracts/devnet.ts';
import type { TestTenant } from '../../product-database.ts';
import type { Plane } from '../plane.ts';

const bytes = (hex: Hex): Buffer => Buffer.from(fromHex(hex));
export const addressOf = (account: LocalAccount): Hex => account.address.toLowerCase() as Hex;

/** What the test knows of a log that it signs for itself. */
export interface OwnLog {
  tenant: TestTenant;
  signer: LocalAccount;
  epoch: number;
  /** Of the last seal or acceptance. */
  head: Hex;
  seq: number;
}

export interface SignedHandover {
  migrationId: string;
  handover: Handover;
  fromSignature: Hex;
  toSignature: Hex;
}

export type Heirs = ReturnType<typeof createHeirs>;

let keys = 5_000;

/** A key that no other test uses. */
export const freshKey = (): LocalAccount => key(++keys);

export function createHeirs(plane: Plane) {
  const { database } = plane;
  const registry = { chainId: database.chainId, contract: plane.registry.address };
  const signing = createPool(database.urls.kiff_signing, 1);
  const sealing = createPool(database.urls.kiff_sealing, 1);

  return {
    registry,

    /** A registered log whose first period began so many seconds ago. */
    async log(periods = 1): Promise<OwnLog> {
      const signer = freshKey();
      const firstPeriod = Math.floor(Date.now() / 1000) - periods;
      const tenant = await database.createTenant({ genesisSigner: addressOf(signer), firstPeriod });
      await plane.sendAll();
      return { tenant, signer, epoch: 0, head: NO_HEAD, seq: 0 };
    },

    /** Puts a record into the log, ends its period and signs every seal that is not signed. @returns the newest seq */
    async seal(log: OwnLog, records = 1): Promise<number> {
      const { tenant } = log;
      if (records > 0) await plane.post(tenant, records);
      const newest = await plane.collect(tenant);
      await plane.log.hashSeals({ tenantId: tenant.id, throughSeq: newest });
      await this.sign(log);
      return newest;
    },

    /** Signs every hashed seal, in order, with the log's signer and epoch. */
    async sign(log: OwnLog): Promise<void> {
      const { tenant } = log;
      const { rows } = await signing.query<{ seq: number; period: number; tree_size: number; root: Buffer }>(
        `SELECT seq, period, tree_size, root FROM ${tenant.role}.seals WHERE level = 'hashed' ORDER BY seq`,
      );
      for (const row of rows) {
        const seal = {
          logId: tenant.logId,
          seq: row.seq,
          period: row.period,
          treeSize: row.tree_size,
          root: toHex(row.root),
          prev: log.head,
        };
        const signature = await log.signer.sign!({ hash: sealDigest(registry, seal) });
        await signing.query(`SELECT ${tenant.role}.record_signature($1, $2, $3, $4, $5, $6, NULL)`, [
          seal.seq,
          bytes(seal.prev),
          bytes(sealHash(seal)),
          log.epoch,
          bytes(addressOf(log.signer)),
          bytes(signature),
        ]);
        log.head = sealHash(seal);
        log.seq = seal.seq;
      }
    },

    /** Begins a migration to `to`, and has both keys sign its handover. Nothing of it is recorded. */
    async draft(log: OwnLog, to: LocalAccount, change: Partial<Handover> = {}): Promise<SignedHandover> {
      const [command] = await database.sql<{ id: number }>(
        `INSERT INTO kiff.commands (issuer, tenant, kind, payload) VALUES ('kiff_c', $1, 'custody.start', $2) RETURNING id`,
        [log.tenant.id, { ref: crypto.randomUUID(), custody: change.custody ?? 2, keyArn: 'arn:of-the-new-key' }],
      );
      const { rows } = await sealing.query<{ id: string; nonce: Buffer }>(
        'SELECT id, nonce FROM kiff.open_custody_migration($1, $2)',
        [command!.id, { approvals: 3600 }],
      );
      const { id, nonce } = rows[0]!;
      await sealing.query('SELECT kiff.set_new_signer($1, $2, $3)', [id, bytes(addressOf(to)), 'arn:of-the-new-key']);
      const handover: Handover = {
        logId: log.tenant.logId,
        epochTo: log.epoch + 1,
        from: addressOf(log.signer),
        to: addressOf(to),
        custody: 2,
        notBefore: 0,
        expiresAt: Math.floor(Date.now() / 1000) + 259_200,
        nonce: toHex(nonce),
        ...change,
      };
      return this.signBoth(log, to, { migrationId: id, handover });
    },

    /** Both keys sign another handover in the place of a drafted one. */
    async signBoth(
      log: OwnLog,
      to: LocalAccount,
      { migrationId, handover }: Pick<SignedHandover, 'migrationId' | 'handover'>,
    ): Promise<SignedHandover> {
      const hash = handoverDigest(registry, handover);
      const [toSignature, fromSignature] = [await to.sign!({ hash }), await log.signer.sign!({ hash })];
      return { migrationId, handover, toSignature, fromSignature };
    },

    /** Puts the signatures of a handover where the signer puts them. */
    async record({ migrationId, handover, fromSignature, toSignature }: SignedHandover): Promise<void> {
      await signing.query('SELECT kiff.record_handover($1, $2, $3, $4, $5, $6)', [
        migrationId,
        bytes(handoverHash(handover)),
        handover.notBefore,
        handover.expiresAt,
        bytes(toSignature),
        bytes(fromSignature),
      ]);
    },

    /** The new key's acceptance over where the log stands, or over a variation of it. */
    async acceptance(
      log: OwnLog,
      { handover }: SignedHandover,
      to: LocalAccount,
      change: Partial<HandoverAccept> = {},
    ): Promise<{ accept: HandoverAccept; signature: Hex }> {
      const { logId, epochTo } = handover;
      const over = { logId, epochTo, handoverHash: handoverHash(handover), seq: log.seq, head: log.head };
      const accept = { ...over, ...change };
      return { accept, signature: await to.sign!({ hash: handoverAcceptDigest(registry, accept) }) };
    },

    async recordAcceptance({ accept, signature }: { accept: HandoverAccept; signature: Hex }): Promise<void> {
      await signing.query('SELECT kiff.record_acceptance($1, $2, $3, $4, $5, $6)', [
        bytes(accept.logId),
        bytes(accept.handoverHash),
        accept.seq,
        bytes(accept.head),
        bytes(handoverAcceptHash(accept)),
        bytes(signature),
      ]);
    },

    async cancellation({ handover }: SignedHandover, by: LocalAccount): Promise<Hex> {
      const { logId, epochTo } = handover;
      const cancel = { logId, epochTo, handoverHash: handoverHash(handover) };
      return by.sign!({ hash: handoverCancelDigest(registry, cancel) });
    },

    async recordCancellation({ handover }: SignedHandover, by: LocalAccount, signature: Hex): Promise<void> {
      const values = [handover.logId, handoverHash(handover), addressOf(by), signature].map(bytes);
      await signing.query('SELECT kiff.record_cancellation($1, $2, $3, $4)', values);
    },

    /** From here on the test signs as the new signer does. */
    succeed(log: OwnLog, { handover }: SignedHandover, accept: HandoverAccept, to: LocalAccount): void {
      Object.assign(log, { signer: to, epoch: handover.epochTo, head: handoverAcceptHash(accept), seq: accept.seq });
    },

    /** The calls as anybody can make them. */
    calls: {
      propose: ({ handover, fromSignature, toSignature }: SignedHandover): Hex =>
        encodeFunctionData({
          abi: registryAbi,
          functionName: 'proposeHandover',
          args: [structOf(handover), fromSignature, toSignature],
        }),
      accept: ({ handover }: SignedHandover, signature: Hex): Hex =>
        encodeFunctionData({ abi: registryAbi, functionName: 'acceptHandover', args: [structOf(handover), signature] }),
      cancel: ({ handover }: SignedHandover, signature: Hex): Hex =>
        encodeFunctionData({ abi: registryAbi, functionName: 'cancelHandover', args: [structOf(handover), signature] }),
    },

    /** What kiff.logs says of who signs. */
    async standing({
      tenant,
    }: OwnLog): Promise<{ signer: Hex | null; epoch: number; custody: number; keyRef: string | null }> {
      const [row] = await database.sql<{
        current_signer: Buffer | null;
        epoch: number;
        custody: number;
        key_ref: string | null;
      }>('SELECT current_signer, epoch, custody, key_ref FROM kiff.logs WHERE tenant = $1', [tenant.id]);
      const { current_signer: signer, epoch, custody, key_ref: keyRef } = row!;
      return { signer: signer && toHex(signer), epoch, custody, keyRef };
    },

    async events({ tenant }: OwnLog): Promise<{ kind: string; detail: Record<string, unknown> }[]> {
      return database.sql(`SELECT kind, detail FROM ${tenant.role}.events WHERE kind = 'custody.cut-over' ORDER BY id`);
    },

    async close(): Promise<void> {
      await signing.end();
      await sealing.end();
    },
  };
}

const structOf = ({ notBefore, expiresAt, ...handover }: Handover) => ({
  ...handover,
  notBefore: BigInt(notBefore),
  expiresAt: BigInt(expiresAt),
});
