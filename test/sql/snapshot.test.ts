import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type pg from 'pg';
import { sqlDirectory } from '../../sql/directory.ts';
import { snapshotDatabase, snapshotRoles, snapshotTenant } from '../../sql/snapshot.ts';
import { createProductDatabase, type ProductDatabase, type TestTenant } from '../product-database.ts';

const OWNERS = ['kiff_owner', 'kiff_journal_owner', 'pg_database_owner'];

const NAMES = ['product', 'tenant', 'journal'] as const;
type Name = (typeof NAMES)[number];

describe('the schema snapshot', () => {
  let db: ProductDatabase;
  let tenant: TestTenant;
  let clients: Record<Name, pg.Client>;
  let made: Record<Name, string>;

  const take: Record<Name, () => Promise<string>> = {
    product: async () => (await snapshotRoles(clients.product)) + (await snapshotDatabase(clients.product)),
    tenant: () => snapshotTenant(clients.tenant, tenant.id),
    journal: () => snapshotDatabase(clients.journal),
  };

  before(async function () {
    this.timeout(60_000);
    db = await createProductDatabase();
    tenant = await db.createTenant();
    const product = await db.connect(db.superuserUrl);
    clients = { product, tenant: product, journal: await db.connect(db.journalSuperuserUrl) };
    made = { product: await take.product(), tenant: await take.tenant(), journal: await take.journal() };
    if (process.env['SCHEMA_SNAPSHOT'] === 'write') {
      for (const name of NAMES) writeFileSync(file(name), made[name]);
    }
  });
  after(() => db.drop());

  for (const name of NAMES) {
    it(`sql/snapshot/${name}.txt is what the migrations make (SCHEMA_SNAPSHOT=write npm test accepts a change)`, () => {
      assert.equal(made[name], readFileSync(file(name), 'utf8'));
    });
  }

  it('is the same for another tenant, and the product’s does not depend on how many there are', async () => {
    const other = await db.createTenant();
    assert.equal(await snapshotTenant(clients.tenant, other.id), made.tenant);
    assert.equal(await take.product(), made.product);
  });

  /** What a change does to a snapshot: lines that go (-) and come (+). The change is rolled back. */
  async function difference(name: Name, change: string): Promise<string[]> {
    const old = statements(made[name]);
    await clients[name].query('BEGIN');
    try {
      await clients[name].query(change);
      const changed = statements(await take[name]());
      return [
        ...old.filter((line) => !changed.includes(line)).map((line) => `- ${line}`),
        ...changed.filter((line) => !old.includes(line)).map((line) => `+ ${line}`),
      ];
    } finally {
      await clients[name].query('ROLLBACK');
    }
  }

  it('shows a change of any kind, and nothing else', async function () {
    this.timeout(30_000);
    const trigger = `table kiff_t_{{tenant}}.tiles: CREATE TRIGGER tile_only_grows BEFORE UPDATE ON kiff_t_{{tenant}}.tiles \
FOR EACH ROW EXECUTE FUNCTION kiff_t_{{tenant}}.tile_only_grows()`;
    const changes: [Name, string, string[]][] = [
      [
        'product',
        'ALTER TABLE kiff.logs ADD note text NOT NULL DEFAULT $$$$',
        [`+ table kiff.logs: column note text not null default ''::text`],
      ],
      ['product', 'GRANT UPDATE ON kiff.logs TO kiff_api', ['+ table kiff.logs: grant UPDATE to kiff_api']],
      [
        'product',
        'GRANT SELECT (id) ON kiff.api_keys TO kiff_api',
        ['+ table kiff.api_keys: grant SELECT (id) to kiff_api'],
      ],
      ['product', 'ALTER TABLE kiff.logs DISABLE ROW LEVEL SECURITY', ['- table kiff.logs: row security enabled']],
      [
        'product',
        'ALTER TABLE kiff.deployment DROP CONSTRAINT deployment_contract_check',
        ['- table kiff.deployment: constraint deployment_contract_check CHECK ((octet_length(contract) = 20))'],
      ],
      [
        'product',
        'ALTER DEFAULT PRIVILEGES FOR ROLE kiff_owner IN SCHEMA kiff GRANT SELECT ON TABLES TO kiff_api',
        ['+ default privileges for kiff_owner: tables in kiff: grant SELECT to kiff_api'],
      ],
      [
        'product',
        'ALTER DEFAULT PRIVILEGES FOR ROLE kiff_owner GRANT EXECUTE ON FUNCTIONS TO PUBLIC',
        ['- default privileges for kiff_owner: functions: no grant'],
      ],
      [
        'product',
        'ALTER ROLE kiff_api SET statement_timeout = 0',
        ['- role kiff_api: set statement_timeout=5s', '+ role kiff_api: set statement_timeout=0'],
      ],
      ['product', 'GRANT kiff_owner TO kiff_api', ['+ role kiff_api: member of kiff_owner, set role']],
      ['product', `CREATE TYPE kiff.mood AS ENUM ('good')`, ['+ type kiff.mood: owner superuser']],
      ['tenant', `ALTER TABLE ${tenant.role}.tiles DISABLE TRIGGER ALL`, [`- ${trigger}`, `+ ${trigger} (disabled)`]],
      [
        'tenant',
        `GRANT SELECT ON kiff.api_keys TO ${tenant.role}`,
        ['+ role kiff_t_{{tenant}}: grant SELECT on table kiff.api_keys'],
      ],
      [
        'journal',
        'GRANT DELETE ON journal.statements TO kiff_journal',
        [
          '- table journal.statements: grant INSERT, SELECT to kiff_journal',
          '+ table journal.statements: grant DELETE, INSERT, SELECT to kiff_journal',
        ],
      ],
    ];
    for (const [name, change, expected] of changes) assert.deepEqual(await difference(name, change), expected, change);

    const body = await difference(
      'product',
      `CREATE OR REPLACE FUNCTION kiff.session_tenant() RETURNS text LANGUAGE sql STABLE PARALLEL SAFE
         SET search_path = pg_catalog, pg_temp RETURN 'another'`,
    );
    const hash = String.raw`function kiff\.session_tenant\(\) returns text: body sha256 \w{64}`;
    assert.match(body.join('\n'), new RegExp(`^- ${hash}\n\\+ ${hash}$`));
  });

  it('has no owner but the NOLOGIN ones', async () => {
    const all = statements(Object.values(made).join(''));
    assert.deepEqual(all.filter(foreign), []);
    for (const owner of ['kiff_owner', 'kiff_journal_owner']) assert.ok(all.includes(`role ${owner}: nologin inherit`));

    for (const taken of [
      'ALTER TABLE kiff.wallets OWNER TO kiff_anchoring',
      'ALTER FUNCTION kiff.session_tenant() OWNER TO kiff_api',
      `CREATE TYPE kiff.mood AS ENUM ('good'); ALTER TYPE kiff.mood OWNER TO kiff_api`,
    ]) {
      assert.ok((await difference('product', taken)).some(foreign), `control: ${taken}`);
    }
  });

  it('gives PUBLIC one table to read and two functions to call', async () => {
    assert.deepEqual(
      NAMES.map((name) => statements(made[name]).filter(everybodys)),
      [
        [
          // USAGE alone opens no object of a schema.
          'schema kiff: grant USAGE to PUBLIC',
          'table kiff.deployment: grant SELECT to PUBLIC',
          'function kiff.opened_as(incarnation text) returns boolean: grant EXECUTE to PUBLIC',
          'function kiff.session_tenant() returns text: grant EXECUTE to PUBLIC',
          'schema public: grant USAGE to PUBLIC',
        ],
        [],
        ['schema public: grant USAGE to PUBLIC'],
      ],
    );

    // Without these lines PostgreSQL gives everybody EXECUTE on the next function.
    for (const [name, owner] of [
      ['product', 'kiff_owner'],
      ['journal', 'kiff_journal_owner'],
    ] as const) {
      assert.ok(statements(made[name]).includes(`default privileges for ${owner}: functions: no grant`));
    }

    for (const careless of [
      'CREATE FUNCTION kiff.careless() RETURNS integer LANGUAGE sql RETURN 1',
      'GRANT SELECT (id) ON kiff.tenants TO PUBLIC',
      'GRANT CREATE ON SCHEMA kiff TO PUBLIC',
      `DO $$ BEGIN EXECUTE format('GRANT TEMPORARY ON DATABASE %I TO PUBLIC', current_database()); END $$`,
    ]) {
      const lines = await difference('product', careless);
      assert.ok(
        lines.some((line) => line.startsWith('+ ') && everybodys(line)),
        `control: ${careless}`,
      );
    }
  });
});

/** A line that names an owner who could log in, or whom nobody meant. */
function foreign(line: string): boolean {
  const owner = /: owner (\S+)/.exec(line)?.[1];
  return owner !== undefined && !OWNERS.includes(owner);
}

function everybodys(line: string): boolean {
  return /: grant .* to PUBLIC$/.test(line);
}

function file(name: string): string {
  return join(sqlDirectory(), 'snapshot', `${name}.txt`);
}

/** Each line of a snapshot with the object that it is about. */
function statements(text: string): string[] {
  return text
    .trimEnd()
    .split('\n\n')
    .flatMap((section) => {
      const [object, ...lines] = section.split('\n');
      return lines.map((line) => `${object}: ${line.trim()}`);
    });
}
