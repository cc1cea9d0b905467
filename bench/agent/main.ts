/**
 * `npm run bench:agent`: what it costs that the key is the tenant's own signer's, which fetches its work over HTTP. The real activities on a
 * real database, journal, chain and KMS stand-in, the real ingest API, and a signer that signs what it is told to (what the tenant's program
 * verifies first is its own time). Ends with one line of JSON: `{addedSeconds, catchUpSealsPerSecond}`.
 *
 * addedSeconds            to state, sign and record one seal: with the tenant's signer, less with a key of ours, medians of turns
 * catchUpSealsPerSecond   of a week's backlog (168 seals), from the signer's return to the last of them in a block
 */
import { setTimeout as delay } from 'node:timers/promises';
import { failureType } from '../../activities/failures.ts';
import { createSteps } from '../../test/activities/custody/steps.ts';
import { createPlane } from '../../test/activities/plane.ts';
import { startIngestApi } from '../../test/api/ingest-api.ts';
import { createOwnSigner } from '../../test/custody/own-signer.ts';
import { stopParts } from '../../test/parts.ts';
import type { TestTenant } from '../../test/product-database.ts';
import { median, rounded, secondsOf } from '../measure.ts';

const TURNS = 20;
/** Seals of a week. */
const BACKLOG = 168;

const say = (line: string): void => void process.stdout.write(`${line}\n`);

try {
  const plane = await createPlane({ coolingOffSeconds: 1 });
  const api = await startIngestApi(plane.database, { contract: plane.registry.address });
  const steps = createSteps(plane);

  /** With the first two of its periods sealed; the others are over and wait to be collected. */
  async function tenantWithBacklog() {
    const tenant = await plane.tenant({ periods: BACKLOG + 60 });
    await plane.post(tenant, 10);
    await plane.log.collect({ tenantId: tenant.id, period: tenant.firstPeriod + 1 });
    await plane.sign(tenant);
    await plane.anchorAll();
    return { tenant, people: await steps.admins.admins(tenant, 2) };
  }

  const of = await tenantWithBacklog();
  const { tenant } = of;
  const signer = createOwnSigner(api.url, (await plane.database.createKey(tenant, { scopes: ['signer'] })).key);
  signer.come();
  const migration = await steps.begin(of, { custody: 3, signer: signer.address });
  await steps.prove(migration);
  await steps.propose(migration);
  await steps.accept(migration);
  await steps.settle();
  await steps.custody.learnSuccession({ tenantId: tenant.id });
  await steps.end(migration, 'completed');
  await signer.leave();
  say('the log is the tenant’s own signer’s');

  // A week of which it was away.
  const from = await steps.state(tenant);
  const period = tenant.firstPeriod + from.seq - 1 + BACKLOG;
  await plane.log.collect({ tenantId: tenant.id, period });
  await plane.database.sql(`UPDATE kiff.signers_seen SET seen_at = seen_at - interval '1 minute'`);
  await plane.sign(tenant).catch((error: unknown) => {
    if (failureType(error) !== 'signer-absent') throw error;
  });
  const caughtUp = await secondsOf(async () => {
    signer.come();
    // A present signer is noticed by its look; here the next try of the seal's workflow begins with it.
    while (
      (await plane.database.sql("SELECT FROM kiff.signers_seen WHERE seen_at > now() - interval '10 seconds'"))
        .length === 0
    )
      await delay(20);
    await plane.sign(tenant);
    await plane.sendAll();
  });
  const { seq } = await steps.state(tenant);
  if (seq !== from.seq + BACKLOG) throw new Error(`${seq - from.seq} of ${BACKLOG} seals are in a block`);
  say(`${BACKLOG} seals in ${caughtUp.toFixed(1)} s`);

  // One seal at a time, in turns with a log of ours.
  const { tenant: ours } = await tenantWithBacklog();
  const seconds = { theirs: [] as number[], ours: [] as number[] };
  const signOne = async (log: TestTenant, at: number): Promise<number> => {
    await plane.log.collect({ tenantId: log.id, period: at });
    await plane.log.hashSeals({ tenantId: log.id, throughSeq: 2 ** 24 - 1 });
    return secondsOf(() => plane.sign(log));
  };
  for (let turn = 1; turn <= TURNS; turn++) {
    seconds.theirs.push(await signOne(tenant, period + turn));
    seconds.ours.push(await signOne(ours, ours.firstPeriod + 1 + turn));
  }
  await signer.leave();
  await api.stop();
  await plane.stop();
  say(`one seal: ${median(seconds.theirs).toFixed(3)} s, with a key of ours ${median(seconds.ours).toFixed(3)} s`);
  say(
    JSON.stringify({
      addedSeconds: rounded(median(seconds.theirs) - median(seconds.ours)),
      catchUpSealsPerSecond: rounded(BACKLOG / caughtUp),
    }),
  );
} finally {
  await stopParts();
}
