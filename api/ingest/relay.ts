/** A seal as anybody can send it to the contract: design section 2, the relayer has no authority. */
import { z } from 'zod';
import type { Registry } from '../../protocol/eip712.ts';
import { count, hex, unixSeconds } from '../http/shapes.ts';
import { sealShape, type SealView } from './seals.ts';

export const relayableSealShape = sealShape
  .extend({
    registry: z.object({ chainId: count, contract: hex(20) }).describe('The contract that judges the seal'),
    sealInput: z
      .object({
        logId: hex(32),
        seq: count,
        period: unixSeconds,
        treeSize: count,
        root: hex(32),
        signature: hex(65),
      })
      .nullable()
      .describe(
        'An item of the contract’s anchor(SealInput[]): whoever sends it, it counts the same. Null until sealed',
      ),
  })
  .meta({ id: 'RelayableSeal', description: 'A seal, and what `kiff anchor` needs to send it with any funded key.' });

/** Adds what the contract takes. */
export function relayable(seal: SealView, registry: Registry): z.infer<typeof relayableSealShape> {
  const { logId, seq, period, treeSize, root, signature } = seal;
  return {
    ...seal,
    registry: { chainId: registry.chainId, contract: registry.contract },
    sealInput: root === null || signature === null ? null : { logId, seq, period, treeSize, root, signature },
  };
}
