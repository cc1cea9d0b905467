/**
 * What each database login may do, and what it may not: the acts that somebody with a stolen password would try first. All
 * that a login was ever granted is in the table of grants (sql/snapshot/); here it is seen that PostgreSQL keeps to it.
 */
import pg from 'pg';
import { Refused, type Attempt, type Ground } from './attempt.ts';

type Names = { own: string; theirs: string; id: string; otherId: string };

interface Refusal {
  /** SQLSTATE of the refusal; a privilege that is not there unless given. */
  code?: string;
  /** The statement runs and shows nothing: row-level security. */
  nothing?: true;
}

const names = ({ tenant, other }: Ground): Names => ({
  own: `kiff_t_${tenant.id}`,
  theirs: `kiff_t_${other.id}`,
  id: tenant.id,
  otherId: other.id,
});

function attempt(
  wall: Attempt['wall'],
  from: string,
  may: boolean,
  act: string,
  statement: (names: Names) => string,
  { code = '42501', nothing }: Refusal = {},
): Attempt {
  return {
    wall,
    from,
    act,
    may,
    async run(ground) {
      const client = await ground.database(from);
      await client.query('BEGIN');
      try {
        const { rowCount } = await client.query(statement(names(ground)));
        if (nothing && rowCount === 0) throw new Refused(`${from} sees nothing`);
      } catch (error) {
        if (error instanceof pg.DatabaseError && error.code === code)
          throw new Refused(error.message, { cause: error });
        throw error;
      } finally {
        await client.query('ROLLBACK');
      }
    },
  };
}

const TENANT = 'kiff_t_<tenant>';
const CUSTODY = 'kiff_c_<tenant>';

const command = (kind: string) => () => `INSERT INTO kiff.commands (kind, payload) VALUES ('${kind}', '{}')`;

/** The valve: what crosses from the application plane to the signing plane is a row, and only of the kinds granted. */
const valve: Attempt[] = [
  attempt(1, 'kiff_operator', true, 'ask for an onboarding', command('tenant.onboard')),
  ...['kiff_api', 'kiff_custody', TENANT, CUSTODY].map((from) =>
    attempt(1, from, false, 'ask for an onboarding', command('tenant.onboard')),
  ),
  ...['kiff_api', TENANT].map((from) =>
    attempt(1, from, false, 'ask for a custody migration or a veto', command('custody.start')),
  ),
  attempt(1, 'kiff_custody', false, 'ask for a custody migration or a veto', command('custody.start')),
  attempt(1, CUSTODY, true, 'ask for a custody migration or a veto', command('custody.veto')),
  attempt(
    1,
    CUSTODY,
    false,
    'say that a step of a migration is done',
    ({ id }) =>
      `INSERT INTO kiff.custody_steps (migration, tenant, step, state) VALUES ('0123456789abcdef', '${id}', 'authorise', 'done')`,
  ),
  attempt(1, CUSTODY, false, 'end a migration', () => `SELECT kiff.end_custody_migration('', 'completed', NULL)`),
  attempt(
    1,
    CUSTODY,
    false,
    'read the evidence with its tokens',
    ({ id }) => `SELECT kiff.custody_evidence('${id}', '{}')`,
  ),
  attempt(1, TENANT, true, 'answer a request for a signature', command('signer.answer')),
  ...['kiff_api', 'kiff_custody', CUSTODY].map((from) =>
    attempt(1, from, false, 'answer a request for a signature', command('signer.answer')),
  ),
  ...['kiff_api', TENANT, CUSTODY, 'kiff_sealing', 'kiff_anchoring'].flatMap((from) => [
    attempt(
      1,
      from,
      false,
      'ask a tenant’s signer for a signature',
      ({ id }) => `SELECT kiff.ask_signer('${id}', '', 'seal', NULL, '', '', '', 1, '{}')`,
    ),
    attempt(
      1,
      from,
      false,
      'say that a request for a signature is answered',
      () => `SELECT kiff.close_signer_request(gen_random_uuid())`,
    ),
    attempt(1, from, false, 'read requests of all tenants', () => 'SELECT FROM kiff.signer_requests'),
  ]),
  ...['kiff_api', 'kiff_custody', 'kiff_operator', TENANT, CUSTODY].flatMap((from) => [
    attempt(1, from, false, 'read commands, its own ones too', () => 'SELECT FROM kiff.commands'),
    attempt(1, from, false, 'change a command', () => `UPDATE kiff.commands SET payload = '{}'`),
    attempt(
      1,
      from,
      false,
      'insert a command in another tenant’s name',
      ({ otherId }) =>
        `INSERT INTO kiff.commands (kind, payload, tenant) VALUES ('tenant.onboard', '{}', '${otherId}')`,
    ),
    attempt(
      1,
      from,
      false,
      'insert a command with a time of its own',
      () => `INSERT INTO kiff.commands (kind, payload, issued_at) VALUES ('tenant.onboard', '{}', now())`,
    ),
  ]),
];

const tenants: Attempt[] = [
  attempt(2, TENANT, true, 'read its own records and bodies', ({ own }) => `SELECT FROM ${own}.records, ${own}.bodies`),
  attempt(
    2,
    TENANT,
    true,
    'accept records into its own log',
    ({ own }) => `SELECT ${own}.accept('{}', '{}', '{}', '{}', '{}', 'k')`,
  ),
  ...['records', 'bodies', 'tiles', 'seals', 'events', 'log_head'].map((table) =>
    attempt(2, TENANT, false, `read another tenant’s \`${table}\``, ({ theirs }) => `SELECT FROM ${theirs}.${table}`),
  ),
  attempt(
    2,
    TENANT,
    false,
    'accept records into another tenant’s log',
    ({ theirs }) => `SELECT ${theirs}.accept('{}', '{}', '{}', '{}', '{}', 'k')`,
  ),
  ...['records', 'bodies', 'seals', 'log_head', 'tiles', 'events'].flatMap((table) => [
    attempt(2, TENANT, false, `delete from its own \`${table}\``, ({ own }) => `DELETE FROM ${own}.${table}`),
  ]),
  attempt(2, TENANT, false, 'change an entry of its own', ({ own }) => `UPDATE ${own}.records SET entry = ''`),
  attempt(2, TENANT, false, 'cut a period of its own log', ({ own }) => `SELECT ${own}.collect(0)`),
  attempt(2, TENANT, false, 'switch a trigger off', ({ own }) => `ALTER TABLE ${own}.seals DISABLE TRIGGER ALL`),
  attempt(2, TENANT, false, 'lock its own head', ({ own }) => `SELECT FROM ${own}.log_head FOR UPDATE`),
  attempt(
    2,
    TENANT,
    false,
    'see another tenant in the directory',
    ({ otherId }) => `SELECT FROM kiff.tenants WHERE id = '${otherId}'`,
    { nothing: true },
  ),
  attempt(
    2,
    TENANT,
    false,
    'see another tenant’s log in the directory',
    ({ otherId }) => `SELECT FROM kiff.logs WHERE tenant = '${otherId}'`,
    { nothing: true },
  ),
  attempt(
    2,
    TENANT,
    true,
    'read its own log as it is published',
    ({ id }) => `SELECT FROM kiff.published_checkpoint('${id}', 1, NULL)`,
  ),
  attempt(
    2,
    TENANT,
    false,
    'read another tenant’s log as it is published, unless that is public',
    ({ otherId }) => `SELECT FROM kiff.published_checkpoint('${otherId}', 1, NULL)`,
    { nothing: true },
  ),
  attempt(2, TENANT, false, 'list the logs that are public', () => 'SELECT FROM kiff.public_logs()'),
  attempt(2, TENANT, false, 'read key hashes', () => 'SELECT hash FROM kiff.api_keys'),
  attempt(2, TENANT, false, 'become another tenant (`SET ROLE`)', ({ theirs }) => `SET ROLE ${theirs}`),
  attempt(2, TENANT, false, 'become the owner (`SET ROLE`)', () => 'SET ROLE kiff_owner'),
  attempt(
    2,
    TENANT,
    false,
    'become another tenant (`SET SESSION AUTHORIZATION`)',
    ({ theirs }) => `SET SESSION AUTHORIZATION ${theirs}`,
  ),
  attempt(
    2,
    TENANT,
    false,
    'be taken for another tenant after `RESET ROLE`',
    ({ otherId }) =>
      `SELECT FROM kiff.tenants WHERE id = '${otherId}' AND set_config('role', 'none', true) IS NOT NULL`,
    { nothing: true },
  ),
  ...(
    [
      ['create a table', ({ own }: Names) => `CREATE TABLE ${own}.mine ()`],
      ['create a temporary table', () => 'CREATE TEMPORARY TABLE mine ()'],
      ['create a schema', () => 'CREATE SCHEMA mine'],
      ['create a function', ({ own }: Names) => `CREATE FUNCTION ${own}.f() RETURNS int LANGUAGE sql AS 'SELECT 1'`],
    ] as const
  ).map(([act, statement]) => attempt(2, TENANT, false, act, statement)),
  // The system's catalogues: their names are everybody's to read, what they guard is not.
  ...(
    [
      ['read password hashes (`pg_authid`)', () => 'SELECT rolpassword FROM pg_catalog.pg_authid'],
      [
        'read the statistics of columns that it may not read (`pg_statistic`)',
        () => 'SELECT FROM pg_catalog.pg_statistic',
      ],
      ['read large objects’ pages (`pg_largeobject`)', () => 'SELECT FROM pg_catalog.pg_largeobject'],
      ['read a file of the server', () => `SELECT pg_catalog.pg_read_file('PG_VERSION')`],
      ['list the server’s directories', () => `SELECT pg_catalog.pg_ls_dir('.')`],
      ['run a program on the server', () => `COPY kiff.deployment TO PROGRAM 'true'`],
      ['write a file on the server', () => `COPY kiff.deployment TO '/tmp/kiff-walls'`],
      ['change the server’s configuration', () => `ALTER SYSTEM SET fsync = off`],
      ['give itself attributes', ({ own }: Names) => `ALTER ROLE ${own} CREATEROLE`],
      ['switch triggers off for its session', () => `SET session_replication_role = replica`],
    ] as const
  ).map(([act, statement]) =>
    attempt(2, TENANT, false, act, statement, act.startsWith('change the server') ? { code: '25001' } : {}),
  ),
  attempt(
    2,
    TENANT,
    false,
    'read the statements of other sessions (`pg_stat_activity`)',
    () => `SELECT FROM pg_catalog.pg_stat_activity
            WHERE usename <> session_user AND query <> '<insufficient privilege>'`,
    { nothing: true },
  ),
  attempt(
    2,
    TENANT,
    false,
    'end another login’s session',
    () => `SELECT pg_catalog.pg_terminate_backend(pid) FROM pg_catalog.pg_stat_activity
            WHERE usename NOT IN (session_user) AND datname = current_database()`,
  ),
  attempt(2, CUSTODY, false, 'read its own tenant’s records', ({ own }) => `SELECT FROM ${own}.records`),
  attempt(2, CUSTODY, true, 'read who signs its own log', ({ id }) => `SELECT FROM kiff.logs WHERE tenant = '${id}'`),
  attempt(
    2,
    CUSTODY,
    false,
    'read who signs another tenant’s log',
    ({ otherId }) => `SELECT FROM kiff.logs WHERE tenant = '${otherId}'`,
    { nothing: true },
  ),
  attempt(2, CUSTODY, false, 'accept records', ({ own }) => `SELECT ${own}.accept('{}', '{}', '{}', '{}', '{}', 'k')`),
  attempt(2, 'kiff_api', true, 'look a key up by its hash', () => `SELECT kiff.find_api_key('\\x00')`),
  attempt(2, 'kiff_api', true, 'list the logs that are public', () => 'SELECT FROM kiff.public_logs()'),
  ...['published_checkpoint(X, 1, NULL)', `published_tiles(X, 1, '{0}', '{0}')`, 'published_entries(X, 1, 0, 1)'].map(
    (call) =>
      attempt(
        2,
        'kiff_api',
        false,
        `read a log that is not public (\`${call.split('(')[0]}\`)`,
        ({ id }) => `SELECT FROM kiff.${call.replace('X', `'${id}'`)}`,
        { nothing: true },
      ),
  ),
  attempt(2, 'kiff_api', false, 'make a log public', () => `SELECT kiff.set_log_public(true, 'me')`),
  attempt(
    2,
    'kiff_api',
    false,
    'find a log’s schema (`readable_log`)',
    ({ id }) => `SELECT kiff.readable_log('${id}', 1)`,
  ),
  ...['kiff_api', 'kiff_custody', 'kiff_webhooks'].flatMap((from) => [
    attempt(2, from, false, 'list tenants', () => 'SELECT FROM kiff.tenants'),
    attempt(2, from, false, 'list keys', () => 'SELECT FROM kiff.api_keys'),
    attempt(2, from, false, 'read a tenant’s records', ({ own }) => `SELECT FROM ${own}.records`),
    attempt(2, from, false, 'become a tenant (`SET ROLE`)', ({ own }) => `SET ROLE ${own}`),
  ]),
  attempt(2, 'kiff_operator', false, 'read a tenant’s records', ({ own }) => `SELECT FROM ${own}.records`),
];

const workers: Attempt[] = [
  attempt(3, 'kiff_sealing', true, 'read the entries of a log', ({ own }) => `SELECT FROM ${own}.records`),
  attempt(3, 'kiff_sealing', false, 'read content', ({ own }) => `SELECT FROM ${own}.bodies`),
  attempt(3, 'kiff_sealing', false, 'change an entry', ({ own }) => `UPDATE ${own}.records SET entry = ''`),
  attempt(3, 'kiff_sealing', false, 'set a seal’s level', ({ own }) => `UPDATE ${own}.seals SET level = 'final'`),
  attempt(
    3,
    'kiff_sealing',
    false,
    'record a signature',
    ({ own }) => `SELECT ${own}.record_signature(1, '', '', 0, '', '', '')`,
  ),
  attempt(3, 'kiff_sealing', false, 'take the wallet', () => `SELECT kiff.hold_wallet(1, '', 'x', 1)`),
  attempt(3, 'kiff_signing', false, 'read content', ({ own }) => `SELECT FROM ${own}.bodies`),
  attempt(3, 'kiff_signing', false, 'cut a period', ({ own }) => `SELECT ${own}.collect(0)`),
  attempt(3, 'kiff_signing', false, 'record a root', ({ own }) => `SELECT ${own}.record_root(1, '')`),
  attempt(3, 'kiff_signing', false, 'take the wallet', () => `SELECT kiff.hold_wallet(1, '', 'x', 1)`),
  attempt(3, 'kiff_anchoring', false, 'read a tenant’s schema', ({ own }) => `SELECT FROM ${own}.seals`),
  attempt(3, 'kiff_anchoring', false, 'open a nonce by itself', () => `UPDATE kiff.nonces SET state = 'open'`),
  attempt(
    3,
    'kiff_anchoring',
    false,
    'record a signature',
    ({ own }) => `SELECT ${own}.record_signature(1, '', '', 0, '', '', '')`,
  ),
  attempt(3, 'kiff_keyadmin', false, 'list tenants', () => 'SELECT FROM kiff.tenants'),
  attempt(3, 'kiff_keyadmin', false, 'read a tenant’s schema', ({ own }) => `SELECT FROM ${own}.records`),
  ...['kiff_sealing', 'kiff_signing', 'kiff_anchoring', 'kiff_keyadmin'].flatMap((from) => [
    attempt(3, from, false, 'become the owner (`SET ROLE`)', () => 'SET ROLE kiff_owner'),
    attempt(3, from, false, 'create a table', () => 'CREATE TABLE kiff.mine ()'),
    attempt(3, from, false, 'insert a command', command('tenant.onboard')),
    attempt(3, from, false, 'read key hashes', () => 'SELECT hash FROM kiff.api_keys'),
  ]),
  attempt(3, 'kiff_notify', true, 'take notices to send', () => 'SELECT kiff.take_deliveries(0)'),
  attempt(3, 'kiff_veto', true, 'look a link up by its hash', () => `SELECT kiff.find_veto('\\x00')`),
  attempt(3, 'kiff_notify', false, 'cast a veto', () => `SELECT kiff.cast_veto('\\x00')`),
  attempt(3, 'kiff_veto', false, 'make a link', () => `SELECT kiff.issue_veto_token(1, '\\x00')`),
  ...['kiff_notify', 'kiff_veto'].flatMap((from) => [
    attempt(3, from, false, 'read what admins left as evidence', () => 'SELECT FROM kiff.commands'),
    attempt(3, from, false, 'list links', () => 'SELECT FROM kiff.veto_tokens'),
    attempt(3, from, false, 'list tenants', () => 'SELECT FROM kiff.tenants'),
    attempt(3, from, false, 'read a tenant’s records', ({ own }) => `SELECT FROM ${own}.records`),
    attempt(3, from, false, 'insert a command', command('custody.veto')),
    attempt(3, from, false, 'record a handover', () => `SELECT kiff.record_handover('', '', 0, 0, NULL, NULL)`),
  ]),
  attempt(3, 'kiff_journal', true, 'read its journal', () => 'SELECT FROM journal.statements'),
  ...['logs', 'statements', 'signatures', 'handovers', 'releases', 'acceptances', 'successions'].flatMap((table) => [
    attempt(3, 'kiff_journal', false, `delete from \`journal.${table}\``, () => `DELETE FROM journal.${table}`),
    attempt(3, 'kiff_journal', false, `empty \`journal.${table}\``, () => `TRUNCATE journal.${table}`),
  ]),
  attempt(3, 'kiff_journal', false, 'change a statement', () => 'UPDATE journal.statements SET root = prev'),
  attempt(
    3,
    'kiff_journal',
    false,
    'switch the journal’s trigger off',
    () => 'ALTER TABLE journal.statements DISABLE TRIGGER ALL',
  ),
  attempt(3, 'kiff_migrate', true, 'become the product’s owner', () => 'SET ROLE kiff_owner'),
  attempt(3, 'kiff_migrate', false, 'become the journal’s owner', () => 'SET ROLE kiff_journal_owner'),
];

const declare = (schema: 'kiff' | 'journal') => () => `INSERT INTO ${schema}.incarnations (name) VALUES ('stolen')`;
const unfreeze = ({ id }: Names) =>
  `UPDATE kiff.logs SET frozen_reason = NULL, frozen_at = NULL WHERE tenant = '${id}'`;
const asOwner = (statement: (names: Names) => string) => (of: Names) => `SET LOCAL ROLE kiff_owner; ${statement(of)}`;
const orderEnd = () =>
  `INSERT INTO journal.end_orders (log_id, reason, last_seq, last_block) VALUES (sha256('x'), 'signer-lost', 0, 0)`;

/** What only an operator's `kiff recover` does: open what was restored or lost, take a freeze away, end a log. */
const recovery: Attempt[] = [
  attempt(3, 'kiff_recovery', true, 'open the product database, as its owner', asOwner(declare('kiff'))),
  attempt(3, 'kiff_recovery', true, 'take a log’s freeze away, as the owner', asOwner(unfreeze)),
  attempt(3, 'kiff_recovery', false, 'open it without becoming the owner', declare('kiff')),
  attempt(3, 'kiff_recovery', false, 'read a tenant’s records without that', ({ own }) => `SELECT FROM ${own}.records`),
  attempt(3, 'kiff_recovery', false, 'become the journal’s owner', () => 'SET ROLE kiff_journal_owner'),
  attempt(3, 'kiff_recovery', false, 'become a tenant (`SET ROLE`)', ({ own }) => `SET ROLE ${own}`),
  attempt(3, 'kiff_recovery', false, 'make a login', () => 'CREATE ROLE kiff_more LOGIN'),
  ...['kiff_sealing', 'kiff_signing', 'kiff_anchoring', 'kiff_keyadmin', 'kiff_api', TENANT].flatMap((from) => [
    attempt(3, from, false, 'open the product database under another name', declare('kiff')),
    attempt(3, from, false, 'take a log’s freeze away', unfreeze),
  ]),
  attempt(3, 'kiff_journal_recovery', true, 'read the journal', () => 'SELECT FROM journal.statements'),
  attempt(3, 'kiff_journal_recovery', true, 'declare the journal', declare('journal')),
  attempt(3, 'kiff_journal_recovery', true, 'order the end of a log', orderEnd),
  attempt(3, 'kiff_journal', false, 'declare its own journal', declare('journal')),
  attempt(3, 'kiff_journal', false, 'order the end of a log', orderEnd),
  attempt(
    3,
    'kiff_journal_recovery',
    false,
    'write a signature',
    () => `INSERT INTO journal.signatures SELECT * FROM journal.signatures`,
  ),
  attempt(
    3,
    'kiff_journal_recovery',
    false,
    'pass a statement off as the signer’s',
    () => 'UPDATE journal.statements SET rebuilt = false',
  ),
  ...['logs', 'statements', 'signatures', 'end_orders', 'ends'].map((table) =>
    attempt(
      3,
      'kiff_journal_recovery',
      false,
      `delete from \`journal.${table}\``,
      () => `DELETE FROM journal.${table}`,
    ),
  ),
  attempt(3, 'kiff_journal_recovery', false, 'become the journal’s owner', () => 'SET ROLE kiff_journal_owner'),
  attempt(
    3,
    'kiff_journal_recovery',
    false,
    'begin a log with anything but its first seal',
    () => `INSERT INTO journal.logs (log_id, tenant, origin, genesis_signer, chain_id, contract, period_seconds)
           VALUES (sha256('x'), 'nobody', 'x', '\\x${'11'.repeat(20)}', 1, '\\x${'11'.repeat(20)}', 1);
           INSERT INTO journal.statements (log_id, epoch, seq, period, tree_size, root, prev, seal_hash)
           VALUES (sha256('x'), 0, 2, 1, 0, sha256(''), sha256('y'), sha256('z'))`,
    { code: 'KF040' },
  ),
];

/** A login has no business with the other database at all. */
function stranger(from: string, database: 'product' | 'journal', insider: string): Attempt {
  return {
    wall: 3,
    from,
    act: `connect to the ${database === 'journal' ? 'journal’s' : 'product'} database`,
    may: false,
    async run(ground) {
      const { host, port, password, user } = await ground.database(from);
      const { database: name } = await ground.database(insider);
      const client = new pg.Client({ host, port, user: user!, password: password!, database: name! });
      try {
        await client.connect();
      } catch (error) {
        if (error instanceof pg.DatabaseError && error.code === '42501')
          throw new Refused(error.message, { cause: error });
        throw error;
      } finally {
        await client.end().catch(() => undefined);
      }
    },
  };
}

const strangers: Attempt[] = [
  ...['kiff_api', TENANT, 'kiff_sealing', 'kiff_signing', 'kiff_anchoring', 'kiff_migrate', 'kiff_recovery'].map(
    (from) => stranger(from, 'journal', 'kiff_journal'),
  ),
  ...['kiff_journal', 'kiff_journal_recovery'].map((from) => stranger(from, 'product', 'kiff_api')),
];

export const databaseAttempts: readonly Attempt[] = [...valve, ...tenants, ...workers, ...recovery, ...strangers];
