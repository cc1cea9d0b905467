/**
 * A log's end in the product database: its schema becomes an archive, the tenant gets a fresh one for its next log, and what was
 * accepted behind the last seal goes over. All of it is one transaction: whoever dies in between has done nothing.
 */
import type { Client } from 'pg';
import pg from 'pg';
import { logSchema, tenantSchema } from './login.ts';
import { alone, readMigrations, runMigration } from './migrate.ts';
import { LOGINS } from './roles.ts';

const { escapeIdentifier } = pg;

/** A record that the operator writes: the first entry of the tenant's next log. */
export interface OwnRecord {
  id: string;
  body: Uint8Array;
  recordOffset: number;
  salt: Uint8Array;
  commitment: Uint8Array;
}

/** A seal that stands on chain, and where. */
export interface FinalSeal {
  seq: number;
  sealHash: Uint8Array;
  txHash: Uint8Array;
  blockNumber: number;
  blockHash: Uint8Array;
  logIndex: number;
}

export interface LogEnd {
  tenantId: string;
  /** Of the log that ends. */
  ordinal: number;
  last: { seq: number; sealHash: Uint8Array; treeSize: number; root: Uint8Array };
  reason: string;
  /** The signed end statement. */
  statement: string;
  successor: { origin: string; genesisSigner: Uint8Array; logId: Uint8Array };
  firstRecord: OwnRecord;
  /** The ended log's seals as the chain has them; the archive's levels are brought to what they are. */
  finalSeals: readonly FinalSeal[];
  /** Records from this index on go over to the next log: no seal of the archive covers them. */
  carryFrom: number;
}

/** What became of the records behind the last seal. Ranges of old indexes, both ends included. */
export interface CarriedOver {
  from: number;
  to: number;
  carried: number;
  altered: [number, number][];
  missing: [number, number][];
  erased: [number, number][];
  refused: [number, number][];
}

/** The log is not frozen, or not yet as long as an API process may believe that it is not. */
export class NotFrozen extends Error {
  override name = 'NotFrozen';
}

/** An API process knows of a freeze within 5 s; twice that, and a write that was under way has ended too. */
const FROZEN_SECONDS = 10;

/**
 * Ends a tenant's current log and begins the next one.
 * @param client connected to the product database with a login that may become kiff_owner, with no transaction open
 * @returns null when this end was carried out before
 * @throws NotFrozen; pg errors, after which nothing has changed
 */
export async function endLog(client: Client, end: LogEnd): Promise<CarriedOver | null> {
  return alone(client, async () => {
    await client.query('BEGIN');
    try {
      await client.query('SET LOCAL ROLE kiff_owner');
      const carried = await endWithin(client, end);
      await client.query('COMMIT');
      return carried;
    } catch (error) {
      await client.query('ROLLBACK');
      throw error;
    }
  });
}

interface LogRow {
  ordinal: number;
  origin: string;
  genesis_signer: Buffer;
  log_id: Buffer;
  first_period: string | null;
  frozen: boolean | null;
}

async function endWithin(client: Client, end: LogEnd): Promise<CarriedOver | null> {
  const { tenantId, ordinal, successor } = end;
  const schema = tenantSchema(tenantId);
  const archive = logSchema(tenantId, ordinal);
  const { rows } = await client.query<LogRow>(
    `SELECT ordinal, origin, genesis_signer, log_id, first_period,
            frozen_at <= clock_timestamp() - make_interval(secs => $2) AS frozen
       FROM kiff.logs WHERE tenant = $1 FOR UPDATE`,
    [tenantId, FROZEN_SECONDS],
  );
  const log = rows[0];
  if (log?.ordinal === ordinal + 1) return null;
  if (log?.ordinal !== ordinal || log.frozen !== true) throw new NotFrozen('the log is not frozen, or not long enough');

  // Whoever writes to the log is through, or waits and finds another schema.
  await client.query(`SELECT FROM ${schema}.log_head FOR UPDATE`);
  await raiseLevels(client, schema, end.finalSeals);
  await client.query(`ALTER SCHEMA ${schema} RENAME TO ${archive}`);
  await closeArchive(client, archive);
  await client.query('UPDATE kiff_migrations.done SET scope = $2 WHERE scope = $1', [
    `tenant:${tenantId}`,
    `ended:${tenantId}:${ordinal}`,
  ]);
  await freshSchema(client, tenantId, archive);
  await client.query(
    `UPDATE kiff.logs SET ordinal = $2, origin = $3, genesis_signer = $4, log_id = $5,
            first_period = (SELECT floor(extract(epoch FROM clock_timestamp()) / d.period_seconds)::bigint * d.period_seconds
                              FROM kiff.deployment d),
            registered_block = NULL, signed_seq = 0, included_seq = 0, final_seq = 0, frozen_reason = NULL, frozen_at = NULL,
            signing_blocked = NULL, signing_blocked_at = NULL, current_signer = NULL, epoch = 0, custody = 1, key_ref = NULL,
            signer_since = NULL, held_since = NULL
      WHERE tenant = $1`,
    [tenantId, ordinal + 1, successor.origin, successor.genesisSigner, successor.logId],
  );
  await writeFirst(client, schema, end.firstRecord);
  const { rows: over } = await client.query<{ carried: CarriedOver }>('SELECT kiff.carry_over($1, $2, $3) AS carried', [
    tenantId,
    archive,
    end.carryFrom,
  ]);
  const { carried } = over[0]!;
  // Usage of the running hour stands in the head, and is the tenant's: what went over was counted when it came.
  await client.query(
    `UPDATE ${schema}.log_head h SET hour = a.hour, hour_records = a.hour_records, hour_bytes = a.hour_bytes,
            hour_duplicates = a.hour_duplicates FROM ${archive}.log_head a`,
  );
  await client.query(
    `INSERT INTO kiff.ended_logs (tenant, ordinal, origin, genesis_signer, log_id, first_period, reason, last_seq,
                                  last_seal_hash, last_tree_size, last_root, statement, carried)
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)`,
    [
      tenantId,
      ordinal,
      log.origin,
      log.genesis_signer,
      log.log_id,
      log.first_period,
      end.reason,
      end.last.seq,
      end.last.sealHash,
      end.last.treeSize,
      end.last.root,
      end.statement,
      carried,
    ],
  );
  return carried;
}

/** Nobody follows an archive's seals to their blocks: what the chain has of them is written now. */
async function raiseLevels(client: Client, schema: string, seals: readonly FinalSeal[]): Promise<void> {
  await client.query(
    `UPDATE ${schema}.seals s
        SET level = 'final', tx_hash = u.tx_hash, block_number = u.block_number, block_hash = u.block_hash,
            log_index = u.log_index, included_at = coalesce(s.included_at, clock_timestamp()), final_at = clock_timestamp()
       FROM unnest($1::integer[], $2::bytea[], $3::bytea[], $4::bigint[], $5::bytea[], $6::integer[])
              AS u (seq, seal_hash, tx_hash, block_number, block_hash, log_index)
      WHERE s.seq = u.seq AND s.seal_hash = u.seal_hash AND s.signature IS NOT NULL AND s.level <> 'final'`,
    [
      seals.map((seal) => seal.seq),
      seals.map((seal) => seal.sealHash),
      seals.map((seal) => seal.txHash),
      seals.map((seal) => seal.blockNumber),
      seals.map((seal) => seal.blockHash),
      seals.map((seal) => seal.logIndex),
    ],
  );
}

/**
 * Leaves the tenant's login its SELECTs, and nobody anything else. The functions go: their texts name the schema that is the
 * next log's now. The triggers stay, and with them what was fixed.
 */
async function closeArchive(client: Client, archive: string): Promise<void> {
  const { rows } = await client.query<{ signature: string }>(
    `SELECT p.oid::regprocedure::text AS signature FROM pg_catalog.pg_proc p
      WHERE p.pronamespace = $1::regnamespace AND p.prorettype <> 'trigger'::regtype`,
    [archive],
  );
  for (const { signature } of rows) await client.query(`DROP FUNCTION ${signature}`);
  const workers = LOGINS.map((login) => escapeIdentifier(login)).join(', ');
  await client.query(`REVOKE ALL ON ALL TABLES IN SCHEMA ${archive} FROM ${workers}`);
  await client.query(`REVOKE ALL ON SCHEMA ${archive} FROM ${workers}`);
}

/** The tenant's schema as a new tenant gets it, with the audit trail, which is the tenant's and not the log's. */
async function freshSchema(client: Client, tenantId: string, archive: string): Promise<void> {
  const schema = tenantSchema(tenantId);
  const migrations = readMigrations('tenant');
  for (const migration of migrations) {
    await runMigration(client, `tenant:${tenantId}`, migration, (sql) => sql.replaceAll('{{tenant}}', tenantId));
  }
  await client.query('UPDATE kiff.tenants SET schema_version = $2 WHERE id = $1', [tenantId, migrations.length]);
  await client.query(
    `INSERT INTO ${schema}.events (id, at, kind, detail) OVERRIDING SYSTEM VALUE
     SELECT id, at, kind, detail FROM ${archive}.events`,
  );
  await client.query(
    `SELECT setval(pg_get_serial_sequence('${schema}.events', 'id'), max(e.id)) FROM ${schema}.events e HAVING max(e.id) IS NOT NULL`,
  );
}

async function writeFirst(client: Client, schema: string, record: OwnRecord): Promise<void> {
  const { rows } = await client.query<{ outcome: string; leaf_index: string }>(
    `SELECT outcome, leaf_index FROM ${schema}.accept($1, $2, $3, $4, $5, 'kiff')`,
    [[record.id], [record.body], [record.recordOffset], [record.salt], [record.commitment]],
  );
  if (rows[0]?.outcome !== 'accepted' || Number(rows[0].leaf_index) !== 0) {
    throw new Error('the first entry of the new log was not taken');
  }
}
