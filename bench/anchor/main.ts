/**
 * `npm run bench:anchor`: what anchoring costs, in gas and in time.
 *
 *     npm run bench:anchor -- --gas-price 0.01 --logs 100,1000,10000
 *
 * Signed seals of so many logs, one of each, are put into the queue at once; the real worker anchors them on a devnet with a block
 * every two seconds. Prints a line for each number of logs, and at the end JSON `{gasBatch100, gasAlone, included1000Seconds,
 * growth}`: gas a seal in a batch of 100 and alone, seconds until all of 1,000 seals are included, and gas a seal at the largest
 * number of logs over that at the smallest. A figure that was not asked for is null.
 */
import { parseArgs } from 'node:util';
import { formatEther, parseGwei } from 'viem';
import { startDevnet } from '../../test/contracts/devnet.ts';
import { measureGas } from '../../test/contracts/gas.ts';
import { stopParts } from '../../test/parts.ts';
import { rounded } from '../measure.ts';
import { prepareGround, type Round } from './ground.ts';

const HOURS_OF_A_YEAR = 365 * 24;

const { values } = parseArgs({
  options: { 'gas-price': { type: 'string', default: '0.01' }, logs: { type: 'string', default: '100,1000,10000' } },
});
const gasPrice = parseGwei(values['gas-price']);
const counts = values.logs.split(',').map(Number);
if (counts.some((count) => !Number.isInteger(count) || count < 1))
  throw new Error('--logs: whole numbers, with commas');

try {
  const gas = await measureContract();
  console.log(`gas a seal: ${gas.sealInBatchOf100} in a batch of 100, ${gas.sealAlone} alone`);
  const rounds = await measureWallet();
  const [first, last] = [rounds[0], rounds.at(-1)];
  console.log(
    JSON.stringify({
      gasBatch100: gas.sealInBatchOf100,
      gasAlone: gas.sealAlone,
      included1000Seconds: rounds.find(({ logs }) => logs === 1_000)?.seconds ?? null,
      growth:
        first === undefined || last === undefined || last === first ? null : rounded(perSeal(last) / perSeal(first)),
    }),
  );
} finally {
  await stopParts();
}

async function measureContract() {
  const net = await startDevnet({ periodSeconds: 3600, coolingOffSeconds: 0 });
  try {
    const { sealInBatchOf100, sealAlone } = await measureGas(net);
    return { sealInBatchOf100, sealAlone };
  } finally {
    await net.stop();
  }
}

async function measureWallet(): Promise<Round[]> {
  const ground = await prepareGround();
  try {
    const rounds: Round[] = [];
    for (const logs of counts.toSorted((a, b) => a - b)) {
      const round = await ground.anchorOneOfEach(logs);
      rounds.push(round);
      console.log(describe(round));
    }
    return rounds;
  } finally {
    await ground.stop();
  }
}

function perSeal({ gasUsed, logs }: Round): number {
  return Number(gasUsed) / logs;
}

function describe(round: Round): string {
  const { logs, seconds, transactions, claimMs } = round;
  const perYear = BigInt(Math.round(perSeal(round) * HOURS_OF_A_YEAR)) * gasPrice;
  return [
    `${logs} logs: included after ${seconds} s, ${rounded(logs / seconds)} seals/s`,
    `${transactions} transactions, ${Math.round(perSeal(round))} gas a seal`,
    `${formatEther(perYear)} ETH a tenant-year at ${values['gas-price']} gwei (without the fee for L1 data)`,
    `a look at the queue ${claimMs} ms`,
  ].join('; ');
}
