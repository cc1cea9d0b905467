/**
 * What the cloud asks the signer for, as it comes over the wire: read strictly where it counts, and not believed. The statement is
 * built here from its fields; the digest and typed data that the cloud sends along must be the same, and are never signed themselves.
 */
import { isDeepStrictEqual } from 'node:util';
import { z } from 'zod';
import {
  CUSTODY_PROOF,
  HANDOVER,
  HANDOVER_ACCEPT,
  HANDOVER_CANCEL,
  hashStruct,
  SEAL,
  typedDigest,
  UINT_MAX,
  type CustodyProof,
  type Handover,
  type HandoverAccept,
  type HandoverCancel,
  type Registry,
  type Seal,
  type StructType,
} from '../../protocol/eip712.ts';
import type { Hex } from '../../protocol/index.ts';
import { typedData, type TypedData } from '../../protocol/typed-data.ts';

/** What is signed: one statement, its struct hash and digest, and how wallets take it. */
export type Statement = { readonly structHash: Hex; readonly digest: Hex; readonly typedData: TypedData } & (
  | { readonly kind: 'seal' | 'shadow'; readonly epoch: number; readonly message: Seal }
  | { readonly kind: 'proof'; readonly message: CustodyProof }
  | { readonly kind: 'handover'; readonly message: Handover }
  | { readonly kind: 'accept'; readonly message: HandoverAccept; readonly standing: Seal | null }
  | { readonly kind: 'cancel'; readonly message: HandoverCancel }
);

export type StatementOf<K extends Statement['kind']> = Extract<Statement, { kind: K }>;

/** A request that can be judged: whose it says it is, and the statement that it asks for. */
export interface SigningRequest {
  readonly id: string;
  readonly logId: Hex;
  readonly registry: Registry;
  readonly signer: Hex;
  readonly statement: Statement;
  /** The fixed word with which the cloud's signing plane has thrown the last answer back; null: none was. */
  readonly lastAnswerRefused: string | null;
}

/** A request that cannot. `id` is null when not even that can be read: then nobody can be told. */
export interface MalformedRequest {
  readonly id: string | null;
  readonly problem: string;
}

const hex = (bytes: number) =>
  z
    .string()
    .regex(new RegExp(`^0x[0-9a-f]{${2 * bytes}}$`), `must be ${bytes} bytes of lower-case 0x hex`)
    .transform((text) => text as Hex);
const uint = (max: number) => z.int().min(0).max(max);

const id = z.uuid();
const tree = { treeSize: uint(UINT_MAX.uint48), root: hex(32), prev: hex(32) };
const seal = z.object({
  epoch: uint(UINT_MAX.uint32),
  seq: uint(UINT_MAX.uint32),
  period: uint(UINT_MAX.uint64),
  ...tree,
});
const common = {
  id,
  logId: hex(32),
  registry: z.object({ chainId: uint(UINT_MAX.uint64), contract: hex(20) }),
  signer: hex(20),
  typedData: z.unknown(),
  digest: hex(32),
  // For people alone: one that is no word is passed over, and the statement judged all the same.
  lastAnswerRefused: z
    .string()
    .regex(/^[a-z][a-z-]{1,63}$/)
    .nullish()
    .catch(null),
};
const request = z.discriminatedUnion('kind', [
  z.object({ ...common, kind: z.enum(['seal', 'shadow']), seal }),
  z.object({
    ...common,
    kind: z.literal('proof'),
    message: z.object({ logId: hex(32), newSigner: hex(20), nonce: hex(32), expiresAt: uint(UINT_MAX.uint64) }),
  }),
  z.object({
    ...common,
    kind: z.literal('handover'),
    message: z.object({
      logId: hex(32),
      epochTo: uint(UINT_MAX.uint32),
      from: hex(20),
      to: hex(20),
      custody: uint(UINT_MAX.uint8),
      notBefore: uint(UINT_MAX.uint64),
      expiresAt: uint(UINT_MAX.uint64),
      nonce: hex(32),
    }),
  }),
  z.object({
    ...common,
    kind: z.literal('accept'),
    message: z.object({
      logId: hex(32),
      epochTo: uint(UINT_MAX.uint32),
      handoverHash: hex(32),
      seq: uint(UINT_MAX.uint32),
      head: hex(32),
    }),
    standing: z.object({ seq: uint(UINT_MAX.uint32), period: uint(UINT_MAX.uint64), ...tree }).nullish(),
  }),
  z.object({
    ...common,
    kind: z.literal('cancel'),
    message: z.object({ logId: hex(32), epochTo: uint(UINT_MAX.uint32), handoverHash: hex(32) }),
  }),
]);
type Wire = z.infer<typeof request>;

/** Reads one request. Members that are not known are passed over; a statement holds none of them. */
export function readRequest(value: unknown): SigningRequest | MalformedRequest {
  const named = z.object({ id }).safeParse(value);
  const fail = (problem: string): MalformedRequest => ({ id: named.success ? named.data.id : null, problem });
  const parsed = request.safeParse(value);
  if (!parsed.success) {
    const [issue] = parsed.error.issues;
    return fail(`${issue?.path.join('.') || 'the request'}: ${issue?.message ?? 'unreadable'}`);
  }
  const wire = parsed.data;
  const statement = statementOf(wire);
  if (statement.message.logId !== wire.logId) return fail('its statement is about another log than it says');
  if (wire.digest !== statement.digest) return fail('its digest is not that of its statement');
  if (!isDeepStrictEqual(wire.typedData, statement.typedData)) return fail('its typed data are not its statement');
  const { id: requestId, logId, registry, signer, lastAnswerRefused = null } = wire;
  return { id: requestId, logId, registry, signer, statement, lastAnswerRefused };
}

function statementOf(wire: Wire): Statement {
  const { registry, logId } = wire;
  switch (wire.kind) {
    case 'seal':
    case 'shadow': {
      const { epoch, seq, period, treeSize, root, prev } = wire.seal;
      const message: Seal = { logId, seq, period, treeSize, root, prev };
      return { kind: wire.kind, epoch, message, ...signable(registry, SEAL, message) };
    }
    case 'proof':
      return { kind: wire.kind, message: wire.message, ...signable(registry, CUSTODY_PROOF, wire.message) };
    case 'handover':
      return { kind: wire.kind, message: wire.message, ...signable(registry, HANDOVER, wire.message) };
    case 'accept': {
      const standing = wire.standing == null ? null : { logId, ...wire.standing };
      return { kind: wire.kind, message: wire.message, standing, ...signable(registry, HANDOVER_ACCEPT, wire.message) };
    }
    case 'cancel':
      return { kind: wire.kind, message: wire.message, ...signable(registry, HANDOVER_CANCEL, wire.message) };
  }
}

function signable<T>(
  registry: Registry,
  type: StructType<T>,
  message: T,
): Pick<Statement, 'structHash' | 'digest' | 'typedData'> {
  const structHash = hashStruct(type, message);
  return { structHash, digest: typedDigest(registry, structHash), typedData: typedData(registry, type, message) };
}
