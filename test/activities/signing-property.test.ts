/**
 * The signer's one promise, under everything at once: no two different statements of one (log, seq) ever reach KMS, and none does
 * before it stands in the journal. Random requests, repeated, in any order and from two signers; crashes at every boundary;
 * product databases restored from old backups in which other records came afterwards; a chain that lags, is ahead, or differs.
 */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import fc from 'fast-check';
import type pg from 'pg';
import type { AgreedChain } from '../../activities/chain/endpoints.ts';
import { createPool } from '../../activities/database.ts';
import { failureType } from '../../activities/failures.ts';
import { createJournal, type Journal } from '../../activities/signing/journal.ts';
import type { Seal } from '../../protocol/eip712.ts';
import { commit, encodeBody, encodeEntry } from '../../protocol/entry.ts';
import type { Hex } from '../../protocol/hex.ts';
import { NO_HEAD, sealDigest } from '../../protocol/seal.ts';
import type { TestTenant } from '../product-database.ts';
import { startKmsTap, type Fate, type KmsTap } from './kms-tap.ts';
import { createPlane, type Plane } from './plane.ts';

const TABLES = ['log_head', 'records', 'bodies', 'tiles', 'seals'] as const;
const CRASHES = [
  'none',
  'before-state',
  'after-state',
  'cut-before',
  'cut-after',
  'before-signed',
  'after-signed',
] as const;
type Crash = (typeof CRASHES)[number];

type Step =
  | { do: 'extend'; records: number }
  | { do: 'backup' }
  | { do: 'restore'; which: number }
  | { do: 'chain'; to: 'lags' | 'ahead' | 'differs'; by: number }
  | { do: 'unfreeze' }
  | { do: 'sign'; seqs: number[]; crash: Crash; also: number[] };

class Crashed extends Error {}

const seqs = fc.array(fc.integer({ min: 1, max: 4 }), { minLength: 1, maxLength: 4 });
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 6, arbitrary: fc.record({ do: fc.constant('extend' as const), records: fc.integer({ min: 1, max: 3 }) }) },
  { weight: 2, arbitrary: fc.constant({ do: 'backup' as const }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('restore' as const), which: fc.nat(5) }) },
  {
    weight: 1,
    arbitrary: fc.record({
      do: fc.constant('chain' as const),
      to: fc.constantFrom('lags' as const, 'ahead' as const, 'differs' as const),
      by: fc.nat(5),
    }),
  },
  { weight: 2, arbitrary: fc.constant({ do: 'unfreeze' as const }) },
  {
    weight: 6,
    arbitrary: fc.record({
      do: fc.constant('sign' as const),
      seqs: fc.oneof(fc.constant<number[]>([1, 2, 3, 4]), seqs),
      crash: fc.constantFrom(...CRASHES),
      also: fc.oneof(fc.constant<number[]>([]), seqs),
    }),
  },
);

/** What a signer that states too late falls for: KMS has signed, nobody remembers, and history goes another way. */
const FORGOTTEN: Step[] = [
  { do: 'sign', seqs: [1], crash: 'cut-after', also: [] },
  { do: 'restore', which: 0 },
  { do: 'extend', records: 2 },
  { do: 'sign', seqs: [1], crash: 'none', also: [] },
];

describe('the signer, whatever happens', function () {
  this.timeout(180_000);
  let plane: Plane;
  let superuser: pg.Client;
  let journalPool: pg.Pool;
  let tap: KmsTap;
  let hear: (digest: Hex) => Promise<Fate>;
  let reached = 0;

  before(async () => {
    plane = await createPlane();
    superuser = await plane.database.connect(plane.database.superuserUrl);
    await superuser.query('SET session_replication_role = replica');
    journalPool = createPool(plane.database.journalSuperuserUrl, 4);
    tap = await startKmsTap(plane.kmsUrl, (digest) => hear(digest));
  });
  after(async () => {
    await tap.stop();
    await journalPool.end();
    await plane.stop();
  });

  async function holds(steps: readonly Step[], journalOf: (real: Journal) => Journal): Promise<void> {
    const tenant = await plane.tenant({ register: false });
    const registry = { chainId: plane.database.chainId, contract: plane.registry.address };
    const schema = tenant.role;
    let backups = 0;
    let crash: Crash = 'none';
    let onChain: { seq: number; head: Hex } = { seq: 0, head: NO_HEAD };
    /** Every statement that a signer ever meant to make, by its digest. */
    const meant = new Map<Hex, Seal>();
    const signed = new Map<number, Set<Hex>>();
    const broken: string[] = [];

    hear = async (digest) => {
      reached++;
      const seal = meant.get(digest);
      if (seal === undefined) broken.push(`KMS was asked for a digest that no statement has`);
      else {
        signed.set(seal.seq, (signed.get(seal.seq) ?? new Set()).add(digest));
        const { rows } = await journalPool.query(
          'SELECT FROM journal.statements WHERE log_id = $1 AND seq = $2 AND root = $3',
          [Buffer.from(seal.logId.slice(2), 'hex'), seal.seq, Buffer.from(seal.root.slice(2), 'hex')],
        );
        if (rows.length === 0) broken.push(`seq ${seal.seq} reached KMS before the journal`);
      }
      return crash === 'cut-before' || crash === 'cut-after' ? crash : 'answered';
    };

    const boundary = (at: Crash): void => {
      if (crash === at) throw new Crashed(at);
    };
    const newSigner = () => {
      const journal = journalOf(createJournal(journalPool));
      return plane.newSigner(undefined, {
        kms: plane.kmsAs('signer', tap.url),
        chain: scripted(() => ({ ...onChain, signer: tenant.genesisSigner })),
        journal: {
          ...journal,
          async state(epoch, seal, hash) {
            meant.set(sealDigest(registry, seal), seal);
            boundary('before-state');
            await journal.state(epoch, seal, hash);
            boundary('after-state');
          },
          async signed(...what) {
            boundary('before-signed');
            await journal.signed(...what);
            boundary('after-signed');
          },
        },
      });
    };

    const run: { [K in Step['do']]: (step: Extract<Step, { do: K }>) => Promise<void> } = {
      async extend({ records }) {
        const { rows } = await superuser.query('SELECT FROM kiff.logs WHERE tenant = $1 AND frozen_reason IS NULL', [
          tenant.id,
        ]);
        if (rows.length > 0) await extend(superuser, plane, tenant, records);
      },
      async backup() {
        for (const table of TABLES) {
          await superuser.query(`CREATE TABLE ${schema}.${table}_b${backups} AS TABLE ${schema}.${table}`);
        }
        backups++;
      },
      async restore({ which }) {
        if (backups === 0) return;
        for (const table of TABLES) {
          await superuser.query(`TRUNCATE ${schema}.${table}`);
          await superuser.query(`INSERT INTO ${schema}.${table} TABLE ${schema}.${table}_b${which % backups}`);
        }
      },
      async chain({ to, by }) {
        const { rows } = await journalPool.query<{ seq: number; seal_hash: Buffer }>(
          `SELECT seq, seal_hash FROM journal.statements JOIN journal.signatures USING (log_id, epoch, seq)
            WHERE log_id = $1 ORDER BY seq`,
          [Buffer.from(tenant.logId.slice(2), 'hex')],
        );
        const forged: Hex = `0x${randomBytes(32).toString('hex')}`;
        const row = rows[by % Math.max(1, rows.length)];
        if (to === 'ahead') onChain = { seq: rows.length + 1 + by, head: forged };
        else if (row === undefined) onChain = { seq: 0, head: NO_HEAD };
        else onChain = { seq: row.seq, head: to === 'lags' ? `0x${row.seal_hash.toString('hex')}` : forged };
      },
      unfreeze: () => plane.unfreeze(tenant),
      async sign(requested) {
        crash = requested.crash;
        const requests = [requested.seqs, requested.also].filter((each) => each.length > 0);
        const outcomes = await Promise.allSettled(
          requests.map((each) => newSigner().signSeals({ tenantId: tenant.id, seqs: each })),
        );
        crash = 'none';
        for (const outcome of outcomes) {
          if (outcome.status === 'fulfilled' || outcome.reason instanceof Crashed) continue;
          if (failureType(outcome.reason) === undefined) throw outcome.reason;
        }
      },
    };
    // There is something to sign, and a backup from before it, to begin with.
    const beginning: Step[] = [{ do: 'backup' }, { do: 'extend', records: 1 }, { do: 'extend', records: 2 }];
    for (const each of [...beginning, ...steps]) await (run[each.do] as (step: Step) => Promise<void>)(each);

    assert.deepEqual(broken, []);
    for (const [seq, digests] of signed) assert.equal(digests.size, 1, `two statements of seq ${seq} reached KMS`);
  }

  const property = (journalOf: (real: Journal) => Journal) =>
    fc.asyncProperty(fc.array(step, { minLength: 6, maxLength: 16 }), (steps) => holds(steps, journalOf));

  it('states one thing for a seq, and states it before KMS hears of it', async () => {
    await fc.assert(
      property((journal) => journal),
      { numRuns: 12, endOnFailure: true, examples: [[FORGOTTEN]] },
    );
    assert.ok(reached > 4, `control: KMS was asked (${reached} times)`);
  });

  it('control: a journal that is written only once KMS has signed lets two statements of one seq reach KMS', async () => {
    const { failed, errorInstance } = await fc.check(property(writtenTooLate), {
      numRuns: 1,
      endOnFailure: true,
      examples: [[FORGOTTEN]],
    });
    assert.ok(failed);
    assert.match(String(errorInstance), /reached KMS/);
  });
});

/** The mutant: what is stated is kept in memory until its signature is there. */
function writtenTooLate(journal: Journal): Journal {
  const held = new Map<number, { epoch: number; seal: Seal; sealHash: Hex }>();
  return {
    ...journal,
    async state(epoch, seal, sealHash) {
      held.set(seal.seq, { epoch, seal, sealHash });
    },
    async at(logId, seq) {
      const statement = held.get(seq);
      return (
        (await journal.at(logId, seq)) ??
        (statement === undefined ? null : { ...statement, signature: null, checkpoint: null, rebuilt: false })
      );
    },
    async signed(logId, epoch, seq, signature) {
      const statement = held.get(seq);
      if (statement !== undefined) await journal.state(statement.epoch, statement.seal, statement.sealHash);
      await journal.signed(logId, epoch, seq, signature);
    },
  };
}

/** A chain that says of every log what it is told to say. */
function scripted(state: () => { signer: Hex; seq: number; head: Hex }): AgreedChain {
  const endpoint = {
    readContract: async () => {
      const { signer, seq, head } = state();
      return [signer, 0, seq, 0n, 0, head];
    },
  };
  return {
    read: (ask) => ask(endpoint as unknown as Parameters<typeof ask>[0]),
    newest: async () => ({ number: 1n, hash: NO_HEAD }),
  };
}

/** One more period with records of its own, as accept() and collect() would have left it, hashed by the sealing worker's own code. */
async function extend(superuser: pg.Client, plane: Plane, tenant: TestTenant, count: number): Promise<void> {
  const { rows } = await superuser.query<{ seq: number; size: number }>(
    `SELECT coalesce(max(seq), 0)::int AS seq, coalesce(max(tree_size), 0)::int AS size FROM ${tenant.role}.seals`,
  );
  const { seq, size } = rows[0]!;
  const period = tenant.firstPeriod + seq * plane.database.periodSeconds;
  for (let at = 0; at < count; at++) {
    const index = size + at;
    const id = randomBytes(8).toString('hex');
    const salt = randomBytes(32);
    const { bytes: body, recordOffset } = encodeBody(null, JSON.stringify({ id }));
    const receivedAt = new Date(period * 1000 + at).toISOString();
    const commitment = Buffer.from(commit(salt, body)).toString('hex');
    const entry = Buffer.from(encodeEntry({ id, receivedAt, key: 'kiff', commitment }));
    await superuser.query(
      `INSERT INTO ${tenant.role}.records (leaf_index, id, received_at, entry, leaf_hash)
       VALUES ($1, $2, $3, $4, sha256('\\x00'::bytea || $4))`,
      [index, id, receivedAt, entry],
    );
    await superuser.query(
      `INSERT INTO ${tenant.role}.bodies (leaf_index, salt, body, record_offset) VALUES ($1, $2, $3, $4)`,
      [index, salt, Buffer.from(body), recordOffset],
    );
  }
  await superuser.query(`UPDATE ${tenant.role}.log_head SET size = $1`, [size + count]);
  await superuser.query(`INSERT INTO ${tenant.role}.seals (seq, period, tree_size) VALUES ($1, $2, $3)`, [
    seq + 1,
    period,
    size + count,
  ]);
  await plane.log.hashSeals({ tenantId: tenant.id, throughSeq: seq + 1 });
}
