/**
 * A cloud that does anything in any order, and a signer that is killed at any moment: there are never two statements for one (epoch,
 * seq), and never one that the log does not bear out.
 */
import assert from 'node:assert/strict';
import { appendFileSync } from 'node:fs';
import fc from 'fast-check';
import type { Hex } from '../../protocol/index.ts';
import { bytesOf } from '../protocol/receipt-factory.ts';
import { P, startCloud, type Cloud, type Request, type Seen } from './hostile-cloud.ts';
import { SIGNER, startSigner, type TestSigner } from './signer-agent.ts';

const EVIL = bytesOf('evil');

/** What the cloud may try. `honest` is the only one that may be signed. */
const MOVES = [
  'honest',
  'stale',
  'fork',
  'rewritten',
  'shrunk',
  'ahead',
  'reordered',
  'wrong-prev',
  'wrong-period',
  'wrong-epoch',
  'as-trial',
  'lying',
  'malformed',
  'another-acceptance',
  'starved',
  'key-away',
  'killed',
  'torn',
] as const;
type Move = (typeof MOVES)[number];

interface World {
  cloud: Cloud;
  signer: TestSigner;
  /** Digest → `<epoch>/<seq>` of every seal that an honest cloud asks for. */
  honest: Map<Hex, string>;
  past: Request[];
}

async function newWorld(): Promise<World> {
  const cloud = await startCloud(SIGNER);
  const signer = startSigner(cloud);
  cloud.migrate();
  const honest = new Map<Hex, string>();
  for (const { digest, kind } of cloud.open) honest.set(digest, `${kind} ${digest}`);
  await signer.round();
  return { cloud, signer, honest, past: [] };
}

async function make(world: World, move: Move, size: number): Promise<void> {
  const { cloud, signer, honest, past } = world;
  const next = (change: Partial<Seen> = {}): Request => cloud.askSeal('seal', { ...cloud.nextSeal(), ...change });
  const forged = [cloud.entryOf(`forged-${size}`), ...cloud.entries.slice(1)];
  switch (move) {
    case 'honest':
    case 'starved':
    case 'key-away': {
      const seal = cloud.seal(size);
      const request = cloud.open.at(-1)!;
      honest.set(request.digest, `${seal.epoch}/${seal.seq}`);
      past.push(request);
      if (move === 'starved') cloud.failing.add('tiles');
      signer.keyAway = move === 'key-away';
      await signer.round();
      cloud.failing.delete('tiles');
      signer.keyAway = false;
      return;
    }
    case 'stale':
      await signer.handle(...past.slice(-3).toReversed());
      return;
    case 'fork': {
      const last = cloud.standing.seal;
      if (last === null) return;
      await signer.handle(cloud.askSeal('seal', { ...last, epoch: cloud.standing.epoch, root: EVIL }));
      return;
    }
    case 'rewritten':
      cloud.publish(forged);
      await signer.handle(next({ root: cloud.rootOf(forged) }));
      cloud.publish(cloud.entries);
      return;
    case 'shrunk':
      await signer.handle(next({ treeSize: 1, root: cloud.rootOf(cloud.entries.slice(0, 1)) }));
      return;
    case 'ahead':
      await signer.handle(next({ seq: cloud.standing.seq + 1 + size, prev: EVIL }));
      return;
    case 'reordered': {
      const two = [cloud.seal(size), cloud.seal(1)];
      const requests = cloud.open.slice(-2);
      for (const [at, request] of requests.entries()) honest.set(request.digest, `${two[at]!.epoch}/${two[at]!.seq}`);
      past.push(...requests);
      await signer.handle(...requests.toReversed());
      return;
    }
    case 'wrong-prev':
      await signer.handle(next({ prev: EVIL }));
      return;
    case 'wrong-period':
      await signer.handle(next({ period: cloud.standing.period + (2 + size) * P }));
      return;
    case 'wrong-epoch':
      await signer.handle(next({ epoch: size % 2 === 0 ? 0 : 3 }), next({ epoch: 2 }));
      return;
    case 'as-trial':
      await signer.handle(cloud.askSeal('shadow', { ...cloud.nextSeal(), root: EVIL }));
      return;
    case 'lying': {
      const request = next({ root: EVIL });
      await signer.handle({ ...request, seal: cloud.nextSeal() }, { ...next(), digest: EVIL });
      return;
    }
    case 'malformed':
      await signer.handle({}, { id: 7 }, { ...next(), kind: 'transfer' }, { ...next(), seal: null });
      return;
    case 'another-acceptance': {
      const hash = signer.journal.said.accepted.keys().next().value!;
      await signer.handle(cloud.accept(hash, { epochTo: 1 }));
      return;
    }
    case 'killed':
      signer.restart();
      return;
    case 'torn':
      appendFileSync(signer.journalPath, `{"sum":"${'0'.repeat(size)}`);
      signer.restart();
  }
}

/** Every digest that the key was ever asked for is an honest one, and no number has two. */
function requireTrue({ signer, honest }: World): void {
  const byPlace = new Map<string, Hex>();
  for (const digest of signer.asked) {
    const place = honest.get(digest);
    assert.ok(place !== undefined, 'a statement was signed that the log does not bear out');
    assert.equal(byPlace.get(place) ?? digest, digest, `two statements for ${place}`);
    byPlace.set(place, digest);
  }
}

const moves = fc.array(fc.tuple(fc.constantFrom(...MOVES), fc.integer({ min: 0, max: 5 })), {
  minLength: 5,
  maxLength: 25,
});

async function play(script: readonly (readonly [Move, number])[], spoil?: (world: World) => void): Promise<void> {
  const world = await newWorld();
  try {
    for (const [move, size] of script) {
      spoil?.(world);
      await make(world, move, size);
      requireTrue(world);
    }
    // Whatever was tried: what an honest cloud asks for is signed in the end.
    await world.signer.round();
    assert.deepEqual(world.cloud.open, []);
  } finally {
    world.signer.stop();
    await world.cloud.stop();
  }
}

describe('a tenant’s signer under a hostile cloud', function () {
  this.timeout(120_000);

  it('never signs two statements for one (epoch, seq), and none that it did not verify', async () => {
    await fc.assert(
      fc.asyncProperty(moves, (script) => play(script)),
      {
        numRuns: 40,
        examples: [[MOVES.map((move) => [move, 2] as [Move, number])]],
      },
    );
  });

  // The controls: without what it remembers, each of these is signed.
  for (const [what, spoil, script] of [
    [
      'the tree that it last verified',
      ({ signer }: World) => void (signer.journal.said.tree = null),
      [
        ['honest', 2],
        ['rewritten', 2],
      ],
    ],
    [
      'which seals it has stated, and where the log stands',
      ({ signer, cloud }: World) => {
        const { said } = signer.journal;
        const last = cloud.standing.seal;
        if (last === null || said.standing === null || said.standing.seq < 4) return;
        said.seals.clear();
        said.standing = { ...said.standing, seq: last.seq - 1, period: last.period - P, head: last.prev };
        said.tree = { size: last.treeSize, root: EVIL };
      },
      [
        ['honest', 2],
        ['fork', 2],
      ],
    ],
  ] as const) {
    it(`would, if it forgot ${what}`, async () => {
      await assert.rejects(play(script, spoil), /does not bear out/);
    });
  }
});
