/**
 * `npm run bench:tenants`: what tenants notice of each other, and what many of them cost. Ends with one line of JSON:
 * `{floodP99Ratio, onboardSlowdown, idleTenantKiB}`.
 *
 * floodP99Ratio     p99 of single POSTs of nine quiet tenants while a tenth sends ten times its rate limit / their p99 alone
 * onboardSlowdown   time to onboard a tenant, mean over the last hundred / mean over the first hundred
 * idleTenantKiB     what one API process holds more for each tenant that has come and is idle
 *
 * BENCH_TENANTS=N onboards N in place of 1,000 (300 at least).
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { part } from '../../dev/progress.ts';
import { prepareGround } from '../ground.ts';
import { rounded } from '../measure.ts';
import { measureFlood } from './flood.ts';
import { measureIdle } from './idle.ts';
import { onboard, startChain, type OnboardedTenant } from './onboarding.ts';

const COUNT = Math.max(300, Number(process.env['BENCH_TENANTS'] ?? 1_000));
/** Compared at both ends. */
const SHARE = 100;

const say = (line: string): void => void process.stdout.write(`${line}\n`);

function mean(tenants: readonly OnboardedTenant[]): number {
  return tenants.reduce((sum, { seconds }) => sum + seconds, 0) / tenants.length;
}

process.env['AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED'] = 'true';
const directory = mkdtempSync(join(tmpdir(), 'kiff-cloud-bench-chain-'));
const chain = await startChain(directory);
try {
  const ground = await prepareGround({ chainId: chain.anvil.chainId, contract: chain.contract });
  try {
    const floodP99Ratio = rounded(await measureFlood(ground, say));

    const progress = part('onboarding');
    progress.start(`${COUNT} tenants`);
    const began = performance.now();
    const tenants = await onboard(ground, chain, COUNT, (done) => {
      if (done % 100 === 0) progress.update(`${done} of ${COUNT} tenants`);
    });
    const first = mean(tenants.slice(0, SHARE));
    const last = mean(tenants.slice(-SHARE));
    progress.done(
      `${COUNT} in ${((performance.now() - began) / 1000).toFixed(0)} s; ` +
        `the first hundred took ${first.toFixed(2)} s each, the last hundred ${last.toFixed(2)} s`,
    );

    const idle = await measureIdle(ground, tenants);
    say(
      `  ${COUNT} tenants on one API process: ${idle.connections} connections at most, ${idle.refused} requests told to come again; ` +
        `each came once in ${idle.seconds.toFixed(0)} s; ${idle.heldKiB.toFixed(1)} KiB held per idle tenant`,
    );
    say(
      JSON.stringify({ floodP99Ratio, onboardSlowdown: rounded(last / first), idleTenantKiB: rounded(idle.heldKiB) }),
    );
  } finally {
    await ground.stop();
  }
} finally {
  await chain.anvil.stop();
  rmSync(directory, { recursive: true, force: true });
}
