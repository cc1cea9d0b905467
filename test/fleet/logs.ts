/**
 * Many logs whose keys are at hand: their seals are signed here and put into the tenants' tables by the functions that the
 * sealing and the signing worker use. For what judges, sends and follows signed seals; who signs is not the subject.
 */
import { createHash } from 'node:crypto';
import type { Hex, LocalAccount } from 'viem';
import { logId } from '../../protocol/logid.ts';
import { readMigrations } from '../../sql/migrate.ts';
import { key } from '../contracts/devnet.ts';
import { hashOf, sealHash, signSeal, zero, type Domain, type SealInput } from '../contracts/statements.ts';
import { randomTenantId, type ProductDatabase } from '../product-database.ts';

/** MTH({}) of RFC 9162, section 2.1.1: these logs are empty, as far as anybody looks. */
const EMPTY_ROOT: Hex = `0x${createHash('sha256').digest('hex')}`;

/** Keys of the fleet: numbers that no other test uses. */
const FIRST_KEY = 1_000_000;

/** Tenants made, or logs signed for, in one round trip. A schema takes some sixty locks until its transaction ends. */
const AT_ONCE = 50;

export interface FleetLog {
  tenantId: string;
  account: LocalAccount;
  logId: Hex;
  originHash: Hex;
  /** The seals signed so far, by seq - 1. */
  seals: { sealHash: Hex; input: SealInput }[];
}

export interface Fleet {
  readonly logs: readonly FleetLog[];
  /** Makes more logs, none of them registered. @returns the new ones */
  grow(count: number): Promise<FleetLog[]>;
  /** Signs the next `count` seals of each log. @throws pg.DatabaseError KF004 when their periods are not over yet */
  sign(logs: readonly FleetLog[], count?: number): Promise<void>;
}

/**
 * @param firstPeriod of every log: so many periods may be sealed at once as have passed since
 * @param domain chain and contract that the seals are signed for
 */
export async function createFleet(database: ProductDatabase, firstPeriod: number, domain: Domain): Promise<Fleet> {
  const sealing = await database.connect(database.urls.kiff_sealing);
  const signing = await database.connect(database.urls.kiff_signing);
  const tenantSql = tenantStatements();
  const logs: FleetLog[] = [];

  function makeLog(): FleetLog {
    const tenantId = randomTenantId();
    const account = key(FIRST_KEY + logs.length);
    const origin = `${database.host}/t/${tenantId}`;
    const genesisSigner = account.address.toLowerCase() as Hex;
    const log = { tenantId, account, logId: logId(genesisSigner, origin), originHash: hashOf(origin), seals: [] };
    logs.push(log);
    return log;
  }

  /** The next seal of a log, signed. */
  async function signNext(
    log: FleetLog,
  ): Promise<{ seq: number; period: number; prev: Hex; sealHash: Hex; signature: Hex }> {
    const seq = log.seals.length + 1;
    const period = firstPeriod + (seq - 1) * database.periodSeconds;
    const prev = log.seals.at(-1)?.sealHash ?? zero;
    const seal = { logId: log.logId, seq, period, treeSize: 0, root: EMPTY_ROOT, prev };
    const input = await signSeal(domain, log.account, seal);
    log.seals.push({ sealHash: sealHash(seal), input });
    return { seq, period, prev, sealHash: sealHash(seal), signature: input.signature };
  }

  return {
    logs,

    // As onboarding makes tenants, but for what takes most of its time: nobody can log in as one, so its own role is granted
    // no functions, and what looks a function up by its name waits until all of a chunk are made.
    async grow(count) {
      const made = Array.from({ length: count }, makeLog);
      for (const some of inChunks(made)) {
        const schemas = some.map(
          ({ tenantId: id }) => `
            CREATE ROLE kiff_t_${id} NOLOGIN;
            SET LOCAL ROLE kiff_owner;
            INSERT INTO kiff.tenants (id, schema_version) VALUES ('${id}', ${readMigrations('tenant').length});
            ${tenantSql.making.replaceAll('{{tenant}}', id)};
            RESET ROLE;`,
        );
        const naming = [
          'SET LOCAL ROLE kiff_owner',
          ...some.map(({ tenantId }) => tenantSql.triggers.replaceAll('{{tenant}}', tenantId)),
          ...tenantSql.grants.map(({ functions, grantee }) => {
            const all = some.map(({ tenantId }) => functions.replaceAll('{{tenant}}', tenantId));
            return `GRANT EXECUTE ON FUNCTION ${all.join(', ')} TO ${grantee}`;
          }),
        ];
        // A connection keeps in its caches whatever it has made, and slows down with each schema.
        const migration = await database.connect(database.urls.kiff_migrate);
        await migration.query(`BEGIN; ${schemas.join('\n')} ${naming.join(';\n')}; COMMIT;`);
        await migration.end();
        await sealing.query(
          some
            .map(
              ({ tenantId: id, account, logId: log }) =>
                `SELECT kiff.open_log('${id}', '${database.host}/t/${id}', ${literal(account.address)}, ${literal(log)});
                 SELECT kiff.activate_tenant('${id}');`,
            )
            .join('\n'),
        );
      }
      await database.sql('UPDATE kiff.logs SET first_period = $2 WHERE tenant = ANY ($1)', [
        made.map(({ tenantId }) => tenantId),
        firstPeriod,
      ]);
      return made;
    },

    async sign(which, count = 1) {
      for (const some of inChunks(which)) {
        const collected: string[] = [];
        const signed: string[] = [];
        for (const log of some) {
          const schema = `kiff_t_${log.tenantId}`;
          for (let made = 0; made < count; made++) {
            const { seq, period, prev, sealHash: hash, signature } = await signNext(log);
            collected.push(
              `SELECT ${schema}.collect(${period}); SELECT ${schema}.record_root(${seq}, ${literal(EMPTY_ROOT)});`,
            );
            const values = [prev, hash, log.account.address, signature].map(literal);
            const [prevBytes, hashBytes, signer, signatureBytes] = values;
            signed.push(
              `SELECT ${schema}.record_signature(${seq}, ${prevBytes}, ${hashBytes}, 0, ${signer}, ${signatureBytes}, NULL);`,
            );
          }
        }
        await sealing.query(collected.join('\n'));
        await signing.query(signed.join('\n'));
      }
    },
  };
}

/**
 * The tenant migrations, in three parts. PostgreSQL looks for a function among all of its name, in every schema, and forgets
 * what it found as soon as any function changes (docs/performance.md): tenant by tenant that grows with their number.
 */
function tenantStatements(): { making: string; triggers: string; grants: { functions: string; grantee: string }[] } {
  const triggers: string[] = [];
  const grants: { functions: string; grantee: string }[] = [];
  const making = readMigrations('tenant')
    .map(({ sql }) => sql)
    .join('\n')
    .replace(/^CREATE TRIGGER [^;]+;/gm, (statement) => {
      triggers.push(statement);
      return '';
    })
    .replace(/^GRANT EXECUTE ON FUNCTION\s+([^;]+?)\s+TO ([^;]+);/gm, (_, functions: string, grantee: string) => {
      if (!grantee.includes('{{tenant}}')) grants.push({ functions, grantee });
      return '';
    });
  return { making, triggers: triggers.join('\n'), grants };
}

/** Hex digits only, so it needs no quoting beyond this. */
const literal = (hex: Hex): string => `'\\x${hex.slice(2)}'::bytea`;

function inChunks<T>(items: readonly T[]): T[][] {
  const chunks: T[][] = [];
  for (let from = 0; from < items.length; from += AT_ONCE) chunks.push(items.slice(from, from + AT_ONCE));
  return chunks;
}
