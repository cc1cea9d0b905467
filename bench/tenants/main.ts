/**
 * `npm run bench:tenants`: what tenants notice of each other. Ends with one line of JSON: `{floodP99Ratio}`.
 *
 * floodP99Ratio   p99 of single POSTs of nine quiet tenants while a tenth sends ten times its rate limit / their p99 alone
 */
import { prepareGround } from '../ground.ts';
import { rounded } from '../measure.ts';
import { measureFlood } from './flood.ts';

const say = (line: string): void => void process.stdout.write(`${line}\n`);

const ground = await prepareGround();
try {
  const floodP99Ratio = rounded(await measureFlood(ground, say));
  say(JSON.stringify({ floodP99Ratio }));
} finally {
  await ground.stop();
}
