/** `kiff.receipt/1` as the API describes it. The format itself, and its strict reader, are protocol/receipt.ts. */
import { z } from 'zod';
import { count, hex, unixSeconds } from '../http/shapes.ts';

const bytes32 = hex(32);
const address = hex(20);
const signature = hex(65);

const position = { txHash: bytes32, blockNumber: count, blockHash: bytes32, logIndex: count };

export const chainPosition = z
  .object(position)
  .meta({ id: 'ChainPosition', description: 'An event on chain; logIndex counts in its block.' });

const handover = z.object({
  logId: bytes32,
  epochTo: count,
  from: address,
  to: address,
  custody: count,
  notBefore: unixSeconds,
  expiresAt: unixSeconds,
  nonce: bytes32,
});

const accept = z.object({ logId: bytes32, epochTo: count, handoverHash: bytes32, seq: count, head: bytes32 });

export const receiptShape = z
  .object({
    format: z.literal('kiff.receipt/1'),
    origin: z.string().describe('The log: its host and tenant'),
    genesisSigner: address,
    registry: z.object({ chainId: count, contract: address }),
    entry: z.string().describe('The leaf, byte for byte'),
    disclosure: z
      .object({ salt: bytes32, body: z.string() })
      .nullable()
      .describe('What the commitment in the entry is over; null once erased'),
    leafIndex: count,
    inclusion: z.array(bytes32).readonly().describe('RFC 9162 inclusion proof, from the leaf up'),
    seal: z.object({
      logId: bytes32,
      seq: count,
      period: unixSeconds,
      treeSize: count,
      root: bytes32,
      prev: bytes32,
      signer: address,
      epoch: count,
      signature,
    }),
    checkpoint: z.string().nullable().describe('The operator’s signed note for this size and root'),
    handovers: z
      .array(
        z.object({
          handover,
          fromSignature: signature,
          toSignature: signature,
          accept,
          acceptSignature: signature,
          proposed: chainPosition,
          accepted: chainPosition,
        }),
      )
      .readonly(),
    anchor: z.object({
      ...position,
      level: z.enum(['included', 'safe', 'final']).describe('Our claim; a verifier does not rely on it'),
    }),
  })
  .meta({ id: 'Receipt', description: 'Proves a record with nothing but the chain: npx kiff verify.' });
