/**
 * The journal's own guards, under any order of what a signer might write: at no time two handovers to one epoch that live, two
 * statements that stand for one seq, or a statement between an acceptance and the head that it binds to.
 */
import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import fc from 'fast-check';
import pg from 'pg';
import { createProductDatabase, type ProductDatabase } from '../product-database.ts';

type Step =
  | { do: 'state'; ahead: number; epoch: number; through: number }
  | { do: 'terms'; which: number; epoch: number; from: number }
  | { do: 'release' | 'cancel'; which: number }
  | { do: 'accept'; which: number; behind: number; wrongHead: boolean }
  | { do: 'die'; which: number; why: 'cancelled' | 'expired'; time: number }
  | { do: 'succeed'; which: number; behind: number };

const which = fc.nat(2);
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      do: fc.constant('state' as const),
      ahead: fc.constantFrom(1, 1, 1, 0, 2),
      epoch: fc.constantFrom(0, 0, 0, 1, -1),
      through: fc.constantFrom(0, 0, 0, 1),
    }),
  },
  {
    weight: 4,
    arbitrary: fc.record({
      do: fc.constant('terms' as const),
      which,
      epoch: fc.constantFrom(1, 1, 1, 0, 2),
      from: fc.constantFrom(0, 0, 0, 1),
    }),
  },
  { weight: 5, arbitrary: fc.record({ do: fc.constant('release' as const), which }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('cancel' as const), which }) },
  {
    weight: 4,
    arbitrary: fc.record({
      do: fc.constant('accept' as const),
      which,
      behind: fc.constantFrom(0, 0, 1),
      wrongHead: fc.constantFrom(false, false, false, true),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      do: fc.constant('die' as const),
      which,
      why: fc.constantFrom('cancelled' as const, 'expired' as const),
      time: fc.constantFrom(50, 101),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({ do: fc.constant('succeed' as const), which, behind: fc.constantFrom(0, 0, 1, 2) }),
  },
);

/** Each kind of thing once, which so few runs by chance may miss. */
const EVERYTHING: Step[] = [
  { do: 'state', ahead: 1, epoch: 0, through: 0 },
  { do: 'terms', which: 0, epoch: 1, from: 0 },
  { do: 'release', which: 0 },
  { do: 'accept', which: 0, behind: 0, wrongHead: false },
  { do: 'state', ahead: 1, epoch: 0, through: 0 }, // refused: it would come between
  { do: 'succeed', which: 0, behind: 0 },
  { do: 'state', ahead: 1, epoch: 0, through: 0 },
  { do: 'state', ahead: 1, epoch: 0, through: 0 },
  { do: 'terms', which: 1, epoch: 1, from: 0 },
  { do: 'release', which: 1 },
  { do: 'succeed', which: 1, behind: 1 }, // accepted below what stands: the newest statement is void
];

/** The handover of every slot expires then. */
const EXPIRES = 100;
const P = 3_600;

const hash = (...parts: (string | number | Buffer)[]): Buffer =>
  parts.reduce((sum: Buffer, part) => createHash('sha256').update(sum).update(String(part)).digest(), Buffer.alloc(0));
const address = (name: string | number): Buffer => hash('address', name).subarray(0, 20);

describe('the signer’s journal, whatever is written in whichever order', function () {
  this.timeout(120_000);
  let database: ProductDatabase;
  let signer: pg.Pool;

  before(async () => {
    database = await createProductDatabase();
    signer = new pg.Pool({ connectionString: database.urls.kiff_journal, max: 4 });
  });
  after(async () => {
    await signer.end();
    await database.drop();
  });

  async function openLog(): Promise<Buffer> {
    const logId = randomBytes(32);
    await signer.query(
      `INSERT INTO journal.logs (log_id, tenant, origin, genesis_signer, chain_id, contract, period_seconds)
       VALUES ($1, $2, $2, $3, 1, $4, $5)`,
      [logId, `t${logId.toString('hex').slice(0, 20)}`, address('genesis'), address('contract'), P],
    );
    return logId;
  }

  interface Head {
    epoch: number;
    signer: Buffer;
    seq: number;
    head: Buffer;
  }
  const headOf = async (logId: Buffer): Promise<Head> =>
    (await signer.query<Head>('SELECT * FROM journal.head_of($1)', [logId])).rows[0]!;

  /** Runs one step as its signer would, from whatever it saw before; refusals are the journal's to make. */
  async function run(logId: Buffer, seen: Head, it: Step): Promise<void> {
    const handover = 'which' in it ? hash('handover', it.which) : Buffer.alloc(0);
    switch (it.do) {
      case 'state': {
        const seq = seen.seq + it.ahead;
        const prev = it.through === 0 ? seen.head : hash('another head');
        const epoch = Math.max(0, seen.epoch + it.epoch);
        const values = [
          logId,
          epoch,
          seq,
          seq * P,
          seq,
          hash('root', seq),
          prev,
          hash('seal', epoch, seq, prev.toString('hex')),
        ];
        await signer.query(
          `INSERT INTO journal.statements (log_id, epoch, seq, period, tree_size, root, prev, seal_hash)
           VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT DO NOTHING`,
          values,
        );
        return;
      }
      case 'terms':
        await signer.query(
          `INSERT INTO journal.handovers (log_id, handover_hash, epoch_to, from_signer, to_signer, custody, not_before, expires_at, nonce)
           VALUES ($1, $2, $3, $4, $5, 2, 0, ${EXPIRES}, $6) ON CONFLICT DO NOTHING`,
          [
            logId,
            handover,
            Math.max(1, seen.epoch + it.epoch),
            it.from === 0 ? seen.signer : address('stranger'),
            address(it.which),
            hash('nonce', it.which),
          ],
        );
        return;
      case 'release':
        await signer.query(
          'INSERT INTO journal.releases (log_id, handover_hash) VALUES ($1, $2) ON CONFLICT DO NOTHING',
          [logId, handover],
        );
        return;
      case 'cancel':
        await signer.query(
          'INSERT INTO journal.cancellations (log_id, handover_hash, struct_hash) VALUES ($1, $2, $2) ON CONFLICT DO NOTHING',
          [logId, handover],
        );
        return;
      case 'accept':
        await signer.query(
          `INSERT INTO journal.acceptances (log_id, handover_hash, seq, head, struct_hash) VALUES ($1, $2, $3, $4, $5)
           ON CONFLICT DO NOTHING`,
          [
            logId,
            handover,
            Math.max(0, seen.seq - it.behind),
            it.wrongHead ? hash('another head') : seen.head,
            hash('acceptance', it.which),
          ],
        );
        return;
      case 'die':
        await signer.query(
          `INSERT INTO journal.dead_handovers (log_id, handover_hash, why, block, block_time) VALUES ($1, $2, $3, 1, $4)
           ON CONFLICT DO NOTHING`,
          [logId, handover, it.why, it.time],
        );
        return;
      case 'succeed':
        await signer.query(
          `INSERT INTO journal.successions (log_id, epoch, signer, custody, handover_hash, accept_seq, head, accepted_block)
           VALUES ($1, $2, $3, 2, $4, $5, $6, 1) ON CONFLICT DO NOTHING`,
          [
            logId,
            seen.epoch + 1,
            address(it.which),
            handover,
            Math.max(0, seen.seq - it.behind),
            hash('acceptance', it.which, seen.epoch + 1),
          ],
        );
    }
  }

  const one = async (text: string, logId: Buffer): Promise<number> =>
    (await signer.query<{ n: number }>(text, [logId])).rows[0]!.n;

  /** What must never be. */
  async function requireSound(logId: Buffer): Promise<void> {
    const doubled = await one(
      'SELECT count(*)::int - count(DISTINCT seq)::int AS n FROM journal.standing WHERE log_id = $1',
      logId,
    );
    assert.equal(doubled, 0, 'two statements stand for one seq');
    const living = await one(
      `SELECT count(*)::int AS n FROM journal.releases r JOIN journal.handovers h USING (log_id, handover_hash)
        WHERE r.log_id = $1 AND h.epoch_to > (SELECT epoch FROM journal.head_of($1))
          AND NOT EXISTS (SELECT FROM journal.dead_handovers d WHERE d.log_id = r.log_id AND d.handover_hash = r.handover_hash)`,
      logId,
    );
    assert.ok(living <= 1, 'two handovers live');
    const both = await one(
      'SELECT count(*)::int AS n FROM journal.acceptances JOIN journal.cancellations USING (log_id, handover_hash) WHERE log_id = $1',
      logId,
    );
    assert.equal(both, 0, 'accepted and cancelled');
    const between = await one(
      `SELECT count(*)::int AS n FROM journal.acceptances a JOIN journal.handovers h USING (log_id, handover_hash)
         JOIN journal.standing s ON s.log_id = a.log_id AND s.epoch < h.epoch_to AND s.seq > a.seq
        WHERE a.log_id = $1
          AND NOT EXISTS (SELECT FROM journal.dead_handovers d WHERE d.log_id = a.log_id AND d.handover_hash = a.handover_hash)
          AND NOT EXISTS (SELECT FROM journal.successions x WHERE x.log_id = a.log_id AND x.epoch >= h.epoch_to)`,
      logId,
    );
    assert.equal(between, 0, 'a statement came between an acceptance and its head');
    const { rows } = await signer.query<{ seq: number; prev: Buffer; seal_hash: Buffer; head: Buffer | null }>(
      `SELECT s.seq, s.prev, s.seal_hash, x.head FROM journal.standing s
         LEFT JOIN LATERAL (SELECT * FROM journal.successions i WHERE i.log_id = s.log_id AND i.accept_seq = s.seq - 1
                             ORDER BY i.epoch DESC LIMIT 1) x ON true
        WHERE s.log_id = $1 ORDER BY s.seq`,
      [logId],
    );
    let before: Buffer = Buffer.alloc(32);
    for (const [index, row] of rows.entries()) {
      assert.equal(row.seq, index + 1, 'a gap');
      assert.equal(row.prev.toString('hex'), (row.head ?? before).toString('hex'), `prev of seq ${row.seq}`);
      before = row.seal_hash;
    }
  }

  it('keeps one story', async () => {
    const reached = { refused: 0, successions: 0, acceptances: 0, voided: 0 };
    await fc.assert(
      fc.asyncProperty(fc.array(fc.tuple(step, fc.boolean()), { minLength: 20, maxLength: 45 }), async (steps) => {
        const logId = await openLog();
        let seen = await headOf(logId);
        for (let at = 0; at < steps.length;) {
          // One step, or two signers at once that saw the same.
          const together = steps[at]![1] ? steps.slice(at, at + 2) : steps.slice(at, at + 1);
          at += together.length;
          const outcomes = await Promise.allSettled(together.map(([it]) => run(logId, seen, it)));
          for (const outcome of outcomes) {
            if (outcome.status === 'fulfilled') continue;
            // Of a handover or release that is not there (23503), or to the signer of now (23514).
            if (!/^(KF0\d\d|23503|23505|23514)$/.test((outcome.reason as { code?: string }).code ?? ''))
              throw outcome.reason;
            reached.refused++;
          }
          // A signer that has not heard of the newest goes on from what it knew, now and then.
          if (at % 5 !== 0) seen = await headOf(logId);
        }
        await requireSound(logId);
        reached.successions += await one('SELECT count(*)::int AS n FROM journal.successions WHERE log_id = $1', logId);
        reached.acceptances += await one('SELECT count(*)::int AS n FROM journal.acceptances WHERE log_id = $1', logId);
        reached.voided += await one(
          `SELECT (SELECT count(*) FROM journal.statements WHERE log_id = $1)::int
                - (SELECT count(*) FROM journal.standing WHERE log_id = $1)::int AS n`,
          logId,
        );
      }),
      { numRuns: 25, endOnFailure: true, examples: [[EVERYTHING.map((it): [Step, boolean] => [it, false])]] },
    );
    for (const [name, times] of Object.entries(reached)) assert.ok(times > 0, `control: ${name} was reached`);
  });

  it('control: without its guards there are two stories', async () => {
    const superuser = await database.connect(database.journalSuperuserUrl);
    for (const table of ['statements', 'releases', 'acceptances', 'cancellations', 'successions', 'dead_handovers'])
      await superuser.query(`ALTER TABLE journal.${table} DISABLE TRIGGER USER`);
    const logId = await openLog();
    for (const slot of [0, 1]) {
      await run(logId, await headOf(logId), { do: 'terms', which: slot, epoch: 1, from: 0 });
      await run(logId, await headOf(logId), { do: 'release', which: slot });
    }
    await assert.rejects(requireSound(logId), /two handovers live/);
    await superuser.end();
  });

  it('only the signer and a recovery write it, and neither changes a row', async () => {
    const tables = [
      'proofs',
      'shadows',
      'handovers',
      'releases',
      'acceptances',
      'cancellations',
      'dead_handovers',
      'successions',
      'custody_signatures',
    ];
    for (const table of tables) {
      await assert.rejects(signer.query(`DELETE FROM journal.${table}`), { code: '42501' }, table);
      await assert.rejects(signer.query(`UPDATE journal.${table} SET log_id = log_id`), { code: '42501' }, table);
    }
  });
});
