/**
 * `npm run bench:custody`: what a custody migration costs the tenant while it runs. On a whole local stack of its own, with a period of
 * 20 seconds, records come in as fast as they are taken while custody goes to the tenant's KMS and comes back. Ends with one line
 * of JSON: `{heldPeriods, ingestRatio}`.
 *
 * heldPeriods   the longest time for which a log's seals were held back, from the request for the acceptance to the block that
 *               includes it, in periods
 * ingestRatio   records a second during the migrations / before and after them
 */
import { chmodSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import pg from 'pg';
import { readStackEnv } from '../../dev/env.ts';
import { removePostgres } from '../../dev/postgres.ts';
import { startStack } from '../../dev/stack.ts';
import { createTenant, type LocalTenant } from '../../dev/tenant.ts';
import { PRODUCT } from '../../sql/prepare.ts';
import { localPeople, localTenantKey } from '../../test/custody/local-people.ts';
import { auditRecord } from '../../test/main-job/client.ts';
import { connectChain } from '../../workers/chain.ts';
import { rounded } from '../measure.ts';

const PERIOD_SECONDS = 20;
/** Without a migration, before and after: so long each. */
const QUIET_SECONDS = 30;
const LOAD = { connections: 4, recordsPerRequest: 200 };

const say = (line: string): void => void process.stdout.write(`${line}\n`);

const perSecond = (parts: { records: number; seconds: number }[]): number =>
  parts.reduce((sum, { records }) => sum + records, 0) / parts.reduce((sum, { seconds }) => sum + seconds, 0);

/** Posts as fast as it is answered. */
function startLoad(apiUrl: string, { apiKey }: LocalTenant) {
  const over = new AbortController();
  let taken = 0;
  const headers = { authorization: `Bearer ${apiKey}`, 'content-type': 'application/x-ndjson' };
  const lane = async (): Promise<void> => {
    while (!over.signal.aborted) {
      const lines = Array.from({ length: LOAD.recordsPerRequest }, () => JSON.stringify(auditRecord()));
      const response = await fetch(`${apiUrl}/v1/records`, { method: 'POST', headers, body: lines.join('\n') });
      if (!response.ok) throw new Error(`POST /v1/records: ${response.status}`);
      await response.arrayBuffer();
      taken += LOAD.recordsPerRequest;
    }
  };
  const lanes = Promise.all(Array.from({ length: LOAD.connections }, lane));
  return {
    taken: () => taken,
    async stop() {
      over.abort();
      await lanes;
    },
  };
}

const state = await mkdtemp(join(tmpdir(), 'kiff-cloud-bench-custody-'));
chmodSync(state, 0o755);
const env = readStackEnv({
  KIFF_PERIOD_SECONDS: String(PERIOD_SECONDS),
  KIFF_COOLING_OFF_SECONDS: String(PERIOD_SECONDS),
  KIFF_HOST: 'kiff.test',
});
const stack = await startStack(state, env, new AbortController().signal, () => undefined);
try {
  const tenant = await createTenant(stack.around, 'acme');
  const url = new URL(stack.around.superuserUrl);
  url.pathname = `/${PRODUCT}`;
  const superuser = new pg.Pool({ connectionString: url.href, max: 2 });
  const sql = async <Row extends pg.QueryResultRow>(text: string, values: unknown[] = []): Promise<Row[]> =>
    (await superuser.query<Row>(text, values)).rows;
  await sql('UPDATE kiff.tenants SET requests_per_second = NULL, records_per_second = NULL');
  await sql('UPDATE kiff.api_keys SET requests_per_second = NULL, records_per_second = NULL');
  const people = localPeople(stack, tenant);
  const admins = [await people.admin(), await people.admin()] as const;
  const { arn } = await localTenantKey(stack, tenant);

  const chain = await connectChain(stack.around.rpcUrl, stack.around.chainId);

  const load = startLoad(stack.apiUrl, tenant);
  const measured = async (work: () => Promise<unknown>): Promise<{ records: number; seconds: number }> => {
    const [from, began] = [load.taken(), performance.now()];
    await work();
    return { records: load.taken() - from, seconds: (performance.now() - began) / 1000 };
  };

  await delay(QUIET_SECONDS * 1000); // the first round warms up
  const without = [await measured(() => delay(QUIET_SECONDS * 1000))];
  const during: { records: number; seconds: number }[] = [];
  const held: number[] = [];
  for (const ask of [{ custody: 'tenant-kms', keyArn: arn }, { custody: 'cloud' }] as const) {
    let migration = '';
    during.push(
      await measured(async () => {
        migration = await people.start(admins[0], ask);
        for (const admin of admins) await people.approve(admin, migration);
        await people.completed(admins[0], migration);
      }),
    );
    // The step begins before the request; the block that includes the acceptance has whole seconds.
    const [row] = await sql<{ begun: number; block: string }>(
      `SELECT extract(epoch FROM s.at)::float8 AS begun, h.accepted_block AS block
         FROM kiff.custody_steps s JOIN kiff.handovers h USING (migration)
        WHERE s.migration = $1 AND s.step = 'accept' AND s.state = 'begun'`,
      [migration],
    );
    const { timestamp } = await chain.getBlock({ blockNumber: BigInt(row!.block) });
    const seconds = Number(timestamp) - row!.begun;
    held.push(seconds);
    without.push(await measured(() => delay(QUIET_SECONDS * 1000)));
    say(`${during.at(-1)!.seconds.toFixed(0)} s, seals held back for ${seconds.toFixed(1)} s of it`);
  }
  await load.stop();
  await superuser.end();
  say(`records a second: ${perSecond(during).toFixed(0)} during migrations, ${perSecond(without).toFixed(0)} without`);
  say(
    JSON.stringify({
      heldPeriods: rounded(Math.max(...held) / PERIOD_SECONDS),
      ingestRatio: rounded(perSecond(during) / perSecond(without)),
    }),
  );
} finally {
  await stack.stop();
  await removePostgres(join(state, 'postgres'));
  await rm(state, { recursive: true, force: true });
}
