import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type pg from 'pg';
import { sqlDirectory } from '../../sql/directory.ts';
import { snapshotDatabase, snapshotRoles, snapshotTenant } from '../../sql/snapshot.ts';
import { createProductDatabase, type ProductDatabase, type TestTenant } from '../product-database.ts';

const OWNERS = ['kiff_owner', 'kiff_journal_owner', 'pg_database_owner'];

/** What everybody may do, in all databases. USAGE alone opens no object of a schema. */
const EVERYBODYS = [
  'schema kiff: grant USAGE to PUBLIC',
  'schema public: grant USAGE to PUBLIC',
  'table kiff.deployment: grant SELECT to PUBLIC',
  'function kiff.session_tenant() returns text: grant EXECUTE to PUBLIC',
];

describe('the schema snapshot', () => {
  let db: ProductDatabase;
  let tenant: TestTenant;
  let product: pg.Client;
  let journal: pg.Client;
  let made: Record<'product' | 'tenant' | 'journal', string>;

  const productText = async (): Promise<string> => (await snapshotRoles(product)) + (await snapshotDatabase(product));

  before(async function () {
    this.timeout(60_000);
    db = await createProductDatabase();
    tenant = await db.createTenant();
    product = await db.connect(db.superuserUrl);
    journal = await db.connect(db.journalSuperuserUrl);
    made = {
      product: await productText(),
      tenant: await snapshotTenant(product, tenant.id),
      journal: await snapshotDatabase(journal),
    };
    if (process.env['SCHEMA_SNAPSHOT'] === 'write') {
      for (const [name, text] of Object.entries(made)) writeFileSync(file(name), text);
    }
  });
  after(() => db.drop());

  for (const name of ['product', 'tenant', 'journal'] as const) {
    it(`sql/snapshot/${name}.txt is what the migrations make (SCHEMA_SNAPSHOT=write npm test accepts a change)`, () => {
      assert.equal(made[name], readFileSync(file(name), 'utf8'));
    });
  }

  it('is the same for another tenant, and the product’s does not depend on how many there are', async () => {
    const other = await db.createTenant();
    assert.equal(await snapshotTenant(product, other.id), made.tenant);
    assert.equal(await productText(), made.product);
  });

  /** What a change inside a transaction does to a snapshot: lines that go (-) and come (+). The change is rolled back. */
  async function difference(client: pg.Client, change: string, take: () => Promise<string>): Promise<string[]> {
    const before = statements(await take());
    await client.query('BEGIN');
    try {
      await client.query(change);
      const after = statements(await take());
      return [
        ...before.filter((line) => !after.includes(line)).map((line) => `- ${line}`),
        ...after.filter((line) => !before.includes(line)).map((line) => `+ ${line}`),
      ];
    } finally {
      await client.query('ROLLBACK');
    }
  }

  it('shows a change of any kind, and nothing else', async () => {
    const changes: [string, string[]][] = [
      [
        'ALTER TABLE kiff.logs ADD note text NOT NULL DEFAULT $$$$',
        [`+ table kiff.logs: column note text not null default ''::text`],
      ],
      ['GRANT UPDATE ON kiff.logs TO kiff_api', ['+ table kiff.logs: grant UPDATE to kiff_api']],
      ['GRANT SELECT (id) ON kiff.api_keys TO kiff_api', ['+ table kiff.api_keys: grant SELECT (id) to kiff_api']],
      ['ALTER TABLE kiff.logs DISABLE ROW LEVEL SECURITY', ['- table kiff.logs: row security enabled']],
      [
        'ALTER TABLE kiff.deployment DROP CONSTRAINT deployment_contract_check',
        ['- table kiff.deployment: constraint deployment_contract_check CHECK ((octet_length(contract) = 20))'],
      ],
      [
        'ALTER DEFAULT PRIVILEGES FOR ROLE kiff_owner IN SCHEMA kiff GRANT SELECT ON TABLES TO kiff_api',
        [
          '+ default privileges for kiff_owner: tables in kiff: grant SELECT to kiff_api',
          '+ schema kiff: default acl for role kiff_owner in schema kiff on tables',
        ],
      ],
      [
        'ALTER ROLE kiff_api SET statement_timeout = 0',
        ['- role kiff_api: set statement_timeout=5s', '+ role kiff_api: set statement_timeout=0'],
      ],
      ['GRANT kiff_owner TO kiff_api', ['+ role kiff_api: member of kiff_owner, set role']],
      ["CREATE TYPE kiff.mood AS ENUM ('good')", ['+ schema kiff: type kiff.mood']],
    ];
    for (const [change, expected] of changes) {
      assert.deepEqual(await difference(product, change, productText), expected, change);
    }
    const body = await difference(
      product,
      `CREATE OR REPLACE FUNCTION kiff.session_tenant() RETURNS text LANGUAGE sql STABLE PARALLEL SAFE
         SET search_path = pg_catalog, pg_temp RETURN 'another'`,
      productText,
    );
    assert.match(
      body.join('\n'),
      /^- \S+ kiff\.session_tenant\(\)[^\n]+ body sha256 \w{64}\n\+ [^\n]+ body sha256 \w{64}$/,
    );
    const ofTenant: [string, string[]][] = [
      [
        `ALTER TABLE ${tenant.role}.seals DISABLE TRIGGER seal_keeps_its_facts`,
        ['- ', '+ '].map(
          (sign) => `${sign}table kiff_t_{{tenant}}.seals: CREATE TRIGGER seal_keeps_its_facts BEFORE UPDATE ON \
kiff_t_{{tenant}}.seals FOR EACH ROW EXECUTE FUNCTION kiff_t_{{tenant}}.seal_keeps_its_facts()${sign === '+ ' ? ' (disabled)' : ''}`,
        ),
      ],
      [
        `GRANT SELECT ON kiff.api_keys TO ${tenant.role}`,
        ['+ role kiff_t_{{tenant}}: grant SELECT on table kiff.api_keys'],
      ],
    ];
    for (const [change, expected] of ofTenant) {
      assert.deepEqual(await difference(product, change, () => snapshotTenant(product, tenant.id)), expected, change);
    }
    assert.deepEqual(
      await difference(journal, 'GRANT DELETE ON journal.statements TO kiff_journal', () => snapshotDatabase(journal)),
      [
        '- table journal.statements: grant INSERT, SELECT to kiff_journal',
        '+ table journal.statements: grant DELETE, INSERT, SELECT to kiff_journal',
      ],
    );
  });

  it('has no owner but the NOLOGIN ones', async () => {
    const foreign = (line: string): boolean =>
      / owner /.test(line) && !OWNERS.includes(/: owner (\S+)/.exec(line)?.[1] ?? '');
    const all = statements(Object.values(made).join(''));
    assert.deepEqual(all.filter(foreign), []);
    assert.deepEqual(
      OWNERS.slice(0, 2).map((owner) => all.includes(`role ${owner}: nologin inherit`)),
      [true, true],
    );

    const taken = await difference(product, 'ALTER TABLE kiff.wallets OWNER TO kiff_anchoring', productText);
    assert.ok(taken.includes('+ table kiff.wallets: owner kiff_anchoring'));
    assert.ok(taken.some(foreign), 'control');
  });

  it('gives PUBLIC one table to read and one function to call', async () => {
    const everybodys = (line: string): boolean => /: (\S.*: )?grant .* to PUBLIC$/.test(line);
    assert.deepEqual(statements(made.product + made.tenant + made.journal).filter(everybodys), [
      ...EVERYBODYS,
      'schema public: grant USAGE to PUBLIC',
    ]);

    // Controls: what PostgreSQL gives to everybody unasked is seen too.
    for (const careless of [
      `CREATE FUNCTION kiff.careless() RETURNS integer LANGUAGE sql RETURN 1`,
      'GRANT SELECT (id) ON kiff.tenants TO PUBLIC',
      'GRANT CREATE ON SCHEMA kiff TO PUBLIC',
      `DO $$ BEGIN EXECUTE format('GRANT TEMPORARY ON DATABASE %I TO PUBLIC', current_database()); END $$`,
    ]) {
      const lines = await difference(product, careless, productText);
      assert.ok(
        lines.some((line) => line.startsWith('+ ') && everybodys(line)),
        `${careless}: ${lines.join()}`,
      );
    }
  });
});

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
