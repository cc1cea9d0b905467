/** The wallet that pays gas: a KMS key of its own. It has no authority; what it sends, anybody could send. */
import type { KMSClient } from '@aws-sdk/client-kms';
import { keccak256, parseSignature, serializeTransaction, type TransactionSerializableEIP1559 } from 'viem';
import type { Hex } from '../../protocol/hex.ts';
import { RELAYER_ALIAS, signDigest } from '../kms/keys.ts';

export interface Relayer {
  /** Lower case. */
  address: Hex;
  sign(transaction: TransactionSerializableEIP1559): Promise<{ raw: Hex; hash: Hex }>;
}

export function createRelayer(kms: KMSClient, address: Hex): Relayer {
  return {
    address,
    async sign(transaction) {
      const digest = keccak256(serializeTransaction(transaction));
      const signature = await signDigest(kms, RELAYER_ALIAS, digest, address);
      const raw = serializeTransaction(transaction, parseSignature(signature));
      return { raw, hash: keccak256(raw) };
    },
  };
}
