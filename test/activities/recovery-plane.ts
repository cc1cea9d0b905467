/** An operator's recovery on a test's sealing plane: real logins, the real signer, and Temporal's part done by a plain call. */
import { createPool } from '../../activities/database.ts';
import { failureType } from '../../activities/failures.ts';
import { createKeyAdminActivities } from '../../activities/keyadmin/create.ts';
import { createDirectory } from '../../activities/recovery/directory.ts';
import { createRecovery, type Recovery } from '../../activities/recovery/recover.ts';
import { createEndActivities, type EndActivities } from '../../activities/signing/end.ts';
import { createCustodyJournal } from '../../activities/signing/custody/journal.ts';
import { createJournal } from '../../activities/signing/journal.ts';
import { LOCAL_ROLES } from '../../dev/kms-roles.ts';
import { connectAgreedChain } from '../../workers/chain.ts';
import { anvil } from '../parts.ts';
import type { TestTenant } from '../product-database.ts';
import type { Plane } from './plane.ts';

export interface RecoveryPlane {
  /** As somebody starts it who has configured this incarnation. */
  recovery(incarnation?: string): Recovery;
  ends: EndActivities;
  rpcUrl: string;
  /** A log's freeze, moved so far back that every API process knows of it. */
  freeze(tenant: TestTenant, reason: string): Promise<void>;
  close(): Promise<void>;
}

export async function recoveryPlane(plane: Plane): Promise<RecoveryPlane> {
  const { database, registry } = plane;
  const { rpcUrl } = await anvil();
  const owner = new URL(database.urls.kiff_recovery);
  owner.searchParams.set('options', '-c role=kiff_owner');
  const pool = createPool(owner.href, 2);
  const journalPool = createPool(database.urls.kiff_journal_recovery, 2);
  const signerJournal = createPool(database.urls.kiff_journal, 2);
  const onChain = { chainId: database.chainId, contract: registry.address };
  const ends = createEndActivities({
    journal: createJournal(signerJournal),
    kms: plane.kmsAs('signer'),
    chain: await connectAgreedChain([rpcUrl], database.chainId, () => undefined),
    registry: onChain,
    host: database.host,
    periodSeconds: database.periodSeconds,
    alert: () => undefined,
  });
  const keys = createKeyAdminActivities({
    kms: plane.kmsAs('admin'),
    roles: LOCAL_ROLES,
    onboardingAbandoned: async () => false,
    alert: () => undefined,
  });
  /** Temporal's retries: for as long as the chain needs. */
  const whenFinal = async <T>(work: () => Promise<T>): Promise<T> => {
    for (;;) {
      try {
        return await work();
      } catch (error) {
        if (failureType(error) !== 'not-final') throw error;
        await plane.mine();
      }
    }
  };
  return {
    ends,
    rpcUrl,
    recovery: (incarnation = database.incarnation) =>
      createRecovery({
        pool,
        productUrl: database.urls.kiff_recovery,
        journalPool,
        journal: createJournal(journalPool),
        custodyJournal: createCustodyJournal(journalPool),
        directory: createDirectory(pool),
        chain: plane.chain,
        registry: onChain,
        contract: registry.address,
        fromBlock: BigInt(registry.fromBlock),
        periodSeconds: database.periodSeconds,
        incarnation,
        async signEnd({ tenantId, ordinal }) {
          const { note } = await whenFinal(() => ends.signEnd({ tenantId, ordinal }));
          return { note, ...(await keys.createTenantKey({ tenantId, ordinal: ordinal + 1 })) };
        },
      }),
    async freeze(tenant, reason) {
      await database.sql('SELECT kiff.freeze_log($1, $2)', [tenant.id, reason]);
      await database.sql(`UPDATE kiff.logs SET frozen_at = frozen_at - interval '1 minute' WHERE tenant = $1`, [
        tenant.id,
      ]);
    },
    async close() {
      await Promise.all([pool.end(), journalPool.end(), signerJournal.end()]);
    },
  };
}
