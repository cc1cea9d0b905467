/** The one-way valve in the database: what a login may put through it, and how rows are taken on the other side. */
import assert from 'node:assert/strict';
import type pg from 'pg';
import { createPool } from '../../activities/database.ts';
import { takeCommand, type StartCommand, type Taken } from '../../activities/commands/queue.ts';
import type { Ask } from '../../activities/commands/judge.ts';
import { createProductDatabase, type ProductDatabase, type TestTenant } from '../product-database.ts';

const DENIED = { code: '42501' };
const INSERT = 'INSERT INTO kiff.commands (kind, payload) VALUES ($1, $2)';

describe('commands', () => {
  let db: ProductDatabase;
  let tenant: TestTenant;
  let other: TestTenant;
  let records: pg.Client;
  let custody: pg.Client;
  let operator: pg.Client;

  before(async function () {
    this.timeout(60_000);
    db = await createProductDatabase();
    tenant = await db.createTenant();
    other = await db.createTenant();
    records = await db.connect(tenant.url);
    custody = await db.connect(tenant.custodyUrl);
    operator = await db.connect(db.urls.kiff_operator);
    // One harmless kind that records' logins may ask for, one of custody, and one that both may.
    await db.sql(
      `INSERT INTO kiff.command_issuers (kind, issuer)
        VALUES ('test.harmless', 'kiff_t'), ('test.custody', 'kiff_c'), ('test.both', 'kiff_t'), ('test.both', 'kiff_c')`,
    );
  });
  beforeEach(() => db.sql('DELETE FROM kiff.command_results; DELETE FROM kiff.commands'));
  after(() => db.drop());

  const ask = (id: string, ref?: string) =>
    operator.query(INSERT, ['tenant.onboard', JSON.stringify({ tenantId: id, ...(ref && { ref }) })]);

  describe('go in', () => {
    it('with kind and payload from the login, and everything else from the database', async () => {
      const [before] = await db.sql<{ now: Date }>('SELECT clock_timestamp() AS now');
      await records.query(INSERT, ['test.harmless', '{"a":1}']);
      await custody.query(INSERT, ['test.custody', '{"b":2}']);
      await operator.query(INSERT, ['tenant.onboard', '{"tenantId":"acme"}']);
      const rows = await db.sql<{ issuer: string; tenant: string | null; kind: string; at: Date }>(
        'SELECT issuer, tenant, kind, issued_at AS at FROM kiff.commands ORDER BY id',
      );
      assert.deepEqual(
        rows.map(({ issuer, tenant: whose, kind }) => [issuer, whose, kind]),
        [
          ['kiff_t', tenant.id, 'test.harmless'],
          ['kiff_c', tenant.id, 'test.custody'],
          ['kiff_operator', null, 'tenant.onboard'],
        ],
      );
      for (const { at } of rows) assert.ok(at >= before!.now);
    });

    it('and the login says nothing else: no id, tenant, time or state, and it reads and changes nothing', async () => {
      for (const client of [records, custody]) {
        for (const statement of [
          `INSERT INTO kiff.commands (kind, payload, tenant) VALUES ('test.both', '{}', '${other.id}')`,
          `INSERT INTO kiff.commands (kind, payload, issuer) VALUES ('test.both', '{}', 'kiff_c')`,
          `INSERT INTO kiff.commands (kind, payload, issued_at) VALUES ('test.both', '{}', '2020-01-01')`,
          `INSERT INTO kiff.commands (kind, payload, settled_at) VALUES ('test.both', '{}', NULL)`,
          `INSERT INTO kiff.commands (id, kind, payload) OVERRIDING SYSTEM VALUE VALUES (1, 'test.both', '{}')`,
          `INSERT INTO kiff.commands DEFAULT VALUES`,
          `INSERT INTO kiff.commands (kind, payload) VALUES ('test.both', '{}') RETURNING id`,
          `INSERT INTO kiff.commands (kind, payload) VALUES ('test.both', '{}') ON CONFLICT (id) DO NOTHING`,
          'SELECT FROM kiff.commands',
          `UPDATE kiff.commands SET payload = '{}'`,
          'DELETE FROM kiff.commands',
          'TRUNCATE kiff.commands',
          `COPY kiff.commands TO STDOUT`,
          `SELECT nextval('kiff.commands_id_seq')`,
          `SELECT setval('kiff.commands_id_seq', 1)`,
          'SELECT FROM kiff.command_issuers',
          `INSERT INTO kiff.command_issuers VALUES ('test.custody', 'kiff_t')`,
          'SELECT FROM kiff.take_command()',
          `SELECT kiff.settle_command(1, 'rejected', 'bad-payload')`,
          'SELECT kiff.defer_command(1)',
          `SELECT kiff.finish_command(1, 'done', NULL)`,
          `INSERT INTO kiff.command_results (command, issuer, kind, state) VALUES (1, 'kiff_t', 'x', 'done')`,
        ]) {
          await assert.rejects(client.query(statement), DENIED, statement);
        }
        await client.query(INSERT, ['test.both', '{}']); // control
      }
    });

    it('C13: whoever has the ingest API’s credentials asks for nothing of custody; the custody API’s may', async () => {
      const api = await db.connect(db.urls.kiff_api);
      for (const client of [records, api, operator, await db.connect(db.urls.kiff_custody)]) {
        await assert.rejects(client.query(INSERT, ['test.custody', '{}']), DENIED);
      }
      await custody.query(INSERT, ['test.custody', '{}']);
      // Nor by another name of the same kind, nor as somebody else.
      for (const kind of ['TEST.CUSTODY', 'test.custody ', 'test.custody\u200b', '']) {
        await assert.rejects(records.query(INSERT, [kind, '{}']), DENIED, JSON.stringify(kind));
      }
      await assert.rejects(records.query(`SET ROLE kiff_c_${tenant.id}`), DENIED);
      await assert.rejects(records.query('SET ROLE kiff_custody_logins'), DENIED);
      assert.equal((await db.sql('SELECT FROM kiff.commands')).length, 1);
    });

    it('control: without the policy the ingest API’s login could', async () => {
      const superuser = await db.connect(db.superuserUrl);
      await superuser.query('ALTER TABLE kiff.commands DISABLE ROW LEVEL SECURITY');
      try {
        await records.query(INSERT, ['test.custody', '{}']);
      } finally {
        await superuser.query('ALTER TABLE kiff.commands ENABLE ROW LEVEL SECURITY');
        await superuser.end();
      }
    });

    it('from no worker, whatever its login', async () => {
      for (const login of ['kiff_sealing', 'kiff_signing', 'kiff_anchoring', 'kiff_keyadmin'] as const) {
        const client = await db.connect(db.urls[login]);
        await assert.rejects(client.query(INSERT, ['test.both', '{}']), DENIED, login);
        await client.end();
      }
    });

    it('of 16 KiB at most, and as objects', async () => {
      await records.query(INSERT, ['test.harmless', payloadOf(16_384)]);
      await assert.rejects(records.query(INSERT, ['test.harmless', payloadOf(16_385)]), { code: '23514' });
      for (const text of ['[]', '"x"', 'null', '1']) {
        await assert.rejects(records.query(INSERT, ['test.harmless', text]), { code: '23514' }, text);
      }
    });
  });

  describe('come out', () => {
    let pool: pg.Pool;
    let started: Ask[];
    const start = async (_id: number, asked: Ask): Promise<void> => void started.push(asked);
    const tenants = (): string[] => started.map(({ tenantId }) => tenantId);

    async function drain(): Promise<Taken['outcome'][]> {
      const outcomes: Taken['outcome'][] = [];
      for (;;) {
        const { outcome } = await takeCommand(pool, start);
        if (outcome === 'nothing') return outcomes;
        outcomes.push(outcome);
      }
    }

    before(() => {
      pool = createPool(db.urls.kiff_sealing, 4);
    });
    beforeEach(() => {
      started = [];
    });
    after(() => pool.end());

    it('oldest first, each once', async () => {
      for (const id of ['aaa', 'bbb', 'ccc']) await ask(id);
      assert.deepEqual(await drain(), ['started', 'started', 'started']);
      assert.deepEqual(tenants(), ['aaa', 'bbb', 'ccc']);
      assert.deepEqual(await drain(), []);
    });

    it('also when one commits late, after younger ones were dealt with', async () => {
      const slow = await db.connect(db.urls.kiff_operator);
      await slow.query('BEGIN');
      await slow.query(INSERT, ['tenant.onboard', '{"tenantId":"slow"}']);
      await ask('fast');
      await drain();
      assert.deepEqual(tenants(), ['fast']);
      await slow.query('COMMIT');
      await drain();
      assert.deepEqual(tenants(), ['fast', 'slow']);
      await slow.end();
    });

    it('past one that another inbox holds, and that one too once its holder is dead', async () => {
      await ask('held');
      await ask('free');
      const holder = await db.connect(db.urls.kiff_sealing);
      await holder.query('BEGIN');
      await holder.query('SELECT FROM kiff.take_command()');
      await drain();
      assert.deepEqual(tenants(), ['free']);
      const [pid] = (await holder.query<{ pid: number }>('SELECT pg_backend_pid() AS pid')).rows;
      await db.sql('SELECT pg_terminate_backend($1, 5000)', [pid!.pid]);
      await drain();
      assert.deepEqual(tenants(), ['free', 'held']);
    });

    it('again when the connection is lost between the start and the mark', async () => {
      await ask('cut');
      const cut = takeCommand(pool, async (id, asked) => {
        await start(id, asked);
        await db.sql(
          `SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity
            WHERE usename = 'kiff_sealing' AND datname = current_database() AND state = 'idle in transaction'`,
        );
      });
      await assert.rejects(cut);
      assert.deepEqual(await drain(), ['started']);
      assert.deepEqual(tenants(), ['cut', 'cut'], 'the second start finds the first: test/workers/inbox.test.ts');
    });

    it('bad ones rejected with a reason, and nobody waits behind them', async () => {
      await records.query(INSERT, ['test.harmless', '{"ref":"odd"}']);
      for (const payload of ['{}', '{"tenantId":"No"}', '{"tenantId":"abc","more":1}', `{"tenantId":"a'; DROP"}`]) {
        await operator.query(INSERT, ['tenant.onboard', payload]);
      }
      await ask('good');
      assert.deepEqual(await drain(), [...Array.from({ length: 5 }, () => 'rejected'), 'started']);
      assert.deepEqual(tenants(), ['good']);
      const results = await db.sql('SELECT kind, state, reason FROM kiff.command_results ORDER BY command');
      assert.deepEqual(results, [
        { kind: 'test.harmless', state: 'rejected', reason: 'unknown-kind' },
        ...Array.from({ length: 4 }, () => ({ kind: 'tenant.onboard', state: 'rejected', reason: 'bad-payload' })),
        { kind: 'tenant.onboard', state: 'started', reason: null },
      ]);
    });

    it('one whose start fails is put off, longer every time, and others pass it by', async () => {
      await ask('sick');
      await ask('well');
      const failing = startUnless('sick', start);
      const outcomes = [(await takeCommand(pool, failing)).outcome, (await takeCommand(pool, failing)).outcome];
      assert.deepEqual(outcomes, ['deferred', 'started']);
      const wait = async (): Promise<number> => {
        const [row] = await db.sql<{ wait: number }>(
          `SELECT extract(epoch FROM try_after - clock_timestamp())::float8 AS wait FROM kiff.commands WHERE settled_at IS NULL`,
        );
        return row!.wait;
      };
      assert.ok((await wait()) <= 0.5);
      await db.sql(`UPDATE kiff.commands SET attempts = 20`);
      await db.sql(`UPDATE kiff.commands SET try_after = '-infinity'`);
      await takeCommand(pool, failing);
      const longest = await wait();
      assert.ok(longest > 25 && longest <= 30, String(longest));
      await db.sql(`UPDATE kiff.commands SET try_after = '-infinity'`);
      assert.deepEqual(await drain(), ['started']);
      assert.deepEqual(tenants(), ['well', 'sick']);
    });

    it('settled once: a second word, or a made-up state, is refused', async () => {
      await ask('once');
      await drain();
      const [{ id } = { id: 0 }] = await db.sql<{ id: number }>('SELECT id FROM kiff.commands');
      for (const statement of [
        `SELECT kiff.settle_command(${id}, 'started', NULL)`,
        `SELECT kiff.settle_command(${id}, 'rejected', 'bad-payload')`,
        `SELECT kiff.settle_command(999999999, 'started', NULL)`,
        `SELECT kiff.finish_command(${id}, 'started', NULL)`,
      ]) {
        await assert.rejects(pool.query(statement), { code: 'KF050' }, statement);
      }
    });

    it('with an end that stands, however fast it came', async () => {
      await ask('quick', 'mine');
      // The workflow may be done while the inbox still holds the row: its word waits for the inbox's.
      let finished: Promise<unknown> | undefined;
      await takeCommand(pool, async (id) => {
        finished = pool.query(`SELECT kiff.finish_command($1, 'done', NULL)`, [id]);
      });
      await finished;
      const result = () => db.sql('SELECT state, reason, ref FROM kiff.command_results');
      assert.deepEqual(await result(), [{ state: 'done', reason: null, ref: 'mine' }]);
      const [{ id } = { id: 0 }] = await db.sql<{ id: number }>('SELECT id FROM kiff.commands');
      await pool.query(`SELECT kiff.finish_command($1, 'failed', 'cancelled')`, [id]);
      assert.deepEqual(await result(), [{ state: 'done', reason: null, ref: 'mine' }]);
    });

    it('with answers that only the tenant reads, or whoever has none and asked', async () => {
      const theirs = await db.connect(other.url);
      await records.query(INSERT, ['test.harmless', '{"ref":"ours"}']);
      await theirs.query(INSERT, ['test.harmless', '{"ref":"theirs"}']);
      await custody.query(INSERT, ['test.custody', '{"ref":"of-custody"}']);
      await ask('xyz', 'of-the-operator');
      await drain();
      assert.deepEqual(await refs(records), ['ours', 'of-custody']);
      assert.deepEqual(await refs(custody), ['ours', 'of-custody']);
      assert.deepEqual(await refs(theirs), ['theirs']);
      assert.deepEqual(await refs(operator), ['of-the-operator']);
      assert.deepEqual(await refs(await db.connect(db.urls.kiff_api)), []);
    });
  });
});

/** A payload whose text in the database has this length. */
function payloadOf(length: number): string {
  return `{"a": "${'x'.repeat(length - 9)}"}`;
}

/** Starts every tenant's but one's. */
function startUnless(sick: string, start: StartCommand): StartCommand {
  return async (id, ask) => {
    if (ask.tenantId === sick) throw new Error('Temporal is away');
    await start(id, ask);
  };
}

/** The answers that a login reads, by their asker's word. */
async function refs(client: pg.Client): Promise<string[]> {
  const { rows } = await client.query<{ ref: string }>('SELECT ref FROM kiff.command_results ORDER BY command');
  return rows.map(({ ref }) => ref);
}
