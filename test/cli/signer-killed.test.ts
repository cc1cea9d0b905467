/** A tenant's signer that is killed (SIGKILL) at every step of its work: what it comes back to is never another statement. */
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { startCloud, type Cloud } from './hostile-cloud.ts';
import { SIGNER, startSigner } from './signer-agent.ts';
import { makeHome, type Home } from './signer-process.ts';

const KILL_AT = join(import.meta.dirname, 'kill-at.js');

describe('a tenant’s signer, killed at every step', function () {
  this.timeout(120_000);
  let cloud: Cloud;
  let home: Home;
  beforeEach(async () => {
    cloud = await startCloud(SIGNER);
    home = makeHome(cloud);
  });
  afterEach(async () => {
    home.remove();
    await cloud.stop();
  });

  /** Runs it to its end, or to its step `at`. @returns whether it was killed there */
  async function killed(at: number): Promise<boolean> {
    const { code, stderr } = await home.run(['--once'], { env: { KILL_AT: String(at) }, node: ['--import', KILL_AT] });
    assert.ok(code === null || code === 0, stderr);
    return code === null;
  }

  it('takes a log over all the same', async () => {
    cloud.migrate();
    const requests = [...cloud.open];
    let kills = 0;
    // Each run is killed one step further; what earlier ones have done stands.
    for (let at = 1; await killed(at); at++) kills++;
    assert.ok(kills >= 10, `${kills} kills`);
    assert.deepEqual(cloud.open, []);
    for (const request of requests) assert.equal(new Set(cloud.signaturesOf(request)).size, 1, request.kind);
  });

  it('seals one statement, although the cloud offers another one in its place before and after', async () => {
    cloud.migrate();
    assert.equal(await killed(0), false);
    const before = [...cloud.entries];
    const honest = cloud.seal();
    const request = cloud.open[0]!;
    // As good as the honest one in itself: it extends the same tree, with tiles that bear it out.
    const others = [...before, cloud.entryOf('another')];
    const rival = cloud.askSeal('seal', { ...honest, treeSize: others.length, root: cloud.rootOf(others) });
    const snapshot = readFileSync(home.journal);
    const signed: string[] = [];
    for (let at = 1; ; at++) {
      writeFileSync(home.journal, snapshot);
      cloud.answers.splice(0);
      cloud.open.splice(0, Infinity, rival);
      cloud.publish(others);
      const was = await killed(at);
      cloud.open.splice(0, Infinity, request, rival);
      cloud.publish(cloud.entries);
      // What comes back is the same code on the same journal; as a process of its own it would only take longer.
      const back = startSigner(cloud, {}, home.journal);
      await back.round();
      await back.round();
      back.stop();
      assert.deepEqual(cloud.open, []);
      const [one, other] = [cloud.signaturesOf(request), cloud.signaturesOf(rival)].map((all) => new Set(all).size);
      assert.equal(one! + other!, 1, `killed at step ${at}: ${one} and ${other}`);
      signed.push(one === 1 ? 'honest' : 'rival');
      if (!was) break;
    }
    // Up to the step at which its statement is on disk the rival is forgotten, and from then on it is the only one.
    assert.ok(signed.length > 12, `${signed.length} steps`);
    assert.deepEqual(signed, signed.toSorted());
    assert.ok(signed.includes('honest') && signed.includes('rival'));
  });
});
