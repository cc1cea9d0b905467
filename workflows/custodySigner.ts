/** What a migration asks of the signer, until activities/signing/custody/ says it. */
import type { Hex } from '../protocol/hex.ts';
type Of = { tenantId: string; migrationId: string };
export interface CustodySigningActivities {
  identifySigner(of: Of): Promise<{ ok: true; newSigner: Hex; keyRef: string } | { ok: false; reason: string }>;
  checkEvidence(of: { tenantId: string; commandId: number }): Promise<{ ok: true } | { ok: false; reason: string }>;
  approvals(of: Of): Promise<{ admins: number; commandIds: number[] }>;
  snapshotKey(of: Of): Promise<{ signer: Hex; publicKey: Hex; policyHash: Hex | null; keyRef: string }>;
  custodyProof(of: Of): Promise<{ signature: Hex }>;
  shadowSeal(of: Of & { seq: number }): Promise<{ shadowHash: Hex; signature: Hex }>;
  handover(of: Of): Promise<{ handoverHash: Hex }>;
  handoverAccept(of: Of): Promise<{ seq: number; head: Hex }>;
  handoverCancel(of: Of): Promise<{ handoverHash: Hex } | null>;
  learnSuccession(of: { tenantId: string }): Promise<{ epoch: number }>;
}
