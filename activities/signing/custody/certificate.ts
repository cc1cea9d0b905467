/** A finished migration's certificate (protocol/certificate.ts): put together by the signer, which alone reads the evidence. */
import type { Pool } from 'pg';
import { z } from 'zod';
import { buildCertificate, type Certificate } from '../../../protocol/certificate.ts';
import type { Registry } from '../../../protocol/eip712.ts';
import { toHex, type Hex } from '../../../protocol/hex.ts';
import { HANDOVER_COLUMNS, handoverOf, type HandoverRow } from '../../../sql/handovers.ts';
import { tenantSchema } from '../../../sql/login.ts';
import { failure } from '../../failures.ts';
import type { createEvidence } from './evidence.ts';
import type { Migration } from './migration.ts';

const hex = z.string().transform((value) => value as Hex);
/** What the saga noted of each step; the certificate's reader checks every signature again. */
const NOTED = {
  authorise: z.object({ commandIds: z.array(z.number()) }),
  prove: z.object({ signature: hex }),
  trial: z.object({ seals: z.array(z.object({ seq: z.number(), signature: hex })) }),
  snapshot: z.object({ publicKey: hex.nullable(), policyHash: hex.nullable() }),
  'disable-old-key': z.object({ keyArn: z.string(), keyState: z.string(), refusedWith: z.string() }),
} as const;

/**
 * @throws failure not-final while a succession up to this one is not known in full
 */
export async function certificateOf(
  { pool, registry, evidence }: { pool: Pool; registry: Registry; evidence: ReturnType<typeof createEvidence> },
  migration: Migration,
): Promise<Certificate> {
  const { log, epochTo, approvalsExpireAt } = migration;
  const { rows } = await pool.query<HandoverRow>(
    `SELECT ${HANDOVER_COLUMNS} FROM kiff.handovers
      WHERE log_id = $1 AND accepted_level = 'final' AND epoch_to <= $2 ORDER BY epoch_to`,
    [Buffer.from(log.logId.slice(2), 'hex'), epochTo],
  );
  const handovers = rows.map(handoverOf).filter((each) => each !== null);
  if (handovers.length !== epochTo) throw failure('not-final', { epoch: epochTo });
  const { rows: steps } = await pool.query<{ step: keyof typeof NOTED; proof: unknown }>(
    `SELECT step, proof FROM kiff.custody_steps WHERE migration = $1 AND state = 'done' ORDER BY id`,
    [migration.id],
  );
  const noted = <Step extends keyof typeof NOTED>(step: Step): z.output<(typeof NOTED)[Step]> | undefined =>
    NOTED[step].safeParse(steps.find((each) => each.step === step)?.proof).data as
      z.output<(typeof NOTED)[Step]> | undefined;

  const parts = await evidence.publicParts(migration, noted('authorise')?.commandIds ?? []);
  const proof = noted('prove');
  const shadows = noted('trial')?.seals ?? [];
  const { rows: seals } = await pool.query<{
    seq: number;
    period: number;
    tree_size: number;
    root: Buffer;
    prev: Buffer;
  }>(`SELECT seq, period, tree_size, root, prev FROM ${tenantSchema(log.tenantId)}.seals WHERE seq = ANY ($1)`, [
    shadows.map(({ seq }) => seq),
  ]);
  const snapshot = noted('snapshot');
  const disabled = noted('disable-old-key');
  return buildCertificate({
    origin: log.origin,
    genesisSigner: log.genesisSigner,
    registry,
    handovers,
    approvals: { expiresAt: approvalsExpireAt, passkeys: parts.map(({ approval }) => approval) },
    proof: proof === undefined ? null : { expiresAt: approvalsExpireAt, signature: proof.signature },
    trial: seals.map(({ seq, period, tree_size: treeSize, root, prev }) => ({
      seal: { seq, period, treeSize, root: toHex(root), prev: toHex(prev) },
      signature: shadows.find((shadow) => shadow.seq === seq)!.signature,
    })),
    oldPublicKey: snapshot?.publicKey ?? null,
    operatorSays: {
      startedAt: Math.floor(migration.startedAt.getTime() / 1000),
      approvedAt: parts.map(({ arrivedAt }) => arrivedAt),
      oldKeyPolicyHash: snapshot?.policyHash ?? null,
      oldKeyDisabled:
        disabled === undefined
          ? null
          : { key: disabled.keyArn, state: disabled.keyState, refusedWith: disabled.refusedWith },
    },
  });
}
