/** Which log a tenant's is, by the journal's word and our own settings; the product database is not asked. */
import type { KMSClient } from '@aws-sdk/client-kms';
import type { Hex } from '../../protocol/hex.ts';
import { logId } from '../../protocol/logid.ts';
import { keyAddress, tenantKeyAlias } from '../kms/keys.ts';
import { originOf } from '../log/origin.ts';
import type { Journal, JournalLog } from './journal.ts';

export interface IdentityDependencies {
  journal: Journal;
  kms: KMSClient;
  registry: { chainId: number; contract: Hex };
  host: string;
  periodSeconds: number;
}

/**
 * A tenant's log as journaled, or, before its first statement, as our own settings and the log's key say it is.
 * @param ordinal which of the tenant's logs; the current one, the one after all that have ended, unless given
 */
export async function identifyLog(deps: IdentityDependencies, tenantId: string, ordinal?: number): Promise<JournalLog> {
  const { journal, kms, registry, host, periodSeconds } = deps;
  const number = ordinal ?? 1 + (await journal.endedLogs(tenantId, registry.chainId, registry.contract));
  const origin = originOf(host, tenantId, number);
  const known = await journal.log(origin, registry.chainId, registry.contract);
  if (known !== null) return known;
  const genesisSigner = await keyAddress(kms, tenantKeyAlias(tenantId, number));
  return {
    logId: logId(genesisSigner, origin),
    tenantId,
    ordinal: number,
    origin,
    genesisSigner,
    ...registry,
    periodSeconds,
  };
}
