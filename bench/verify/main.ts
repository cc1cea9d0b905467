/**
 * `npm run bench:verify`: what verifying costs. Ends with one line of JSON: `{receiptMs, monthSeconds, monthMiB}`.
 *
 * receiptMs     one receipt of epoch 0 offline, in computing time: the median over many, once the process has warmed up
 * monthSeconds  `kiff verify` of a tenant's month as a process of its own: 720 seals, 10^6 entries, a tenth of them disclosed
 * monthMiB      its resident memory at the highest
 */
import { spawn } from 'node:child_process';
import { createHash, createHmac } from 'node:crypto';
import { once } from 'node:events';
import { createWriteStream, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { packageRoot } from '../../dev/root.ts';
import { CompactRange } from '../../protocol/compact-range.ts';
import { hashLeaf } from '../../protocol/hash.ts';
import { toHex, verifyReceiptText, type Seal } from '../../protocol/index.ts';
import {
  accountOf,
  addressOf,
  bytesOf,
  checkpointOf,
  logIdOf,
  makePolicy,
  makeReceipt,
  OPERATOR,
  ORIGIN,
  PERIOD,
  PERIOD_SECONDS,
  REGISTRY,
  signed,
  structHash,
  ZERO,
} from '../../test/protocol/receipt-factory.ts';
import { median, rounded } from '../measure.ts';

const SEALS = 720;
const ENTRIES = 1_000_000;
/** One record in so many is disclosed. */
const DISCLOSED = 10;
const RECEIPTS = 200;

const say = (line: string): void => void process.stdout.write(`${line}\n`);
const sha256 = (bytes: Uint8Array): Uint8Array => createHash('sha256').update(bytes).digest();

/** Computing time (of the process, not the clock) of one receipt, in milliseconds: the first, and the median. */
async function receiptMs(epoch: number): Promise<number> {
  const text = JSON.stringify(await makeReceipt({ epoch, size: 1000, leafIndex: 500 }));
  const policy = makePolicy();
  const times: number[] = [];
  for (let run = 0; run < RECEIPTS; run++) {
    const start = process.cpuUsage();
    const { ok } = await verifyReceiptText(text, policy, { offline: true });
    const { user, system } = process.cpuUsage(start);
    times.push((user + system) / 1000);
    if (!ok) throw new Error('the receipt does not verify');
  }
  const [first, middle] = [times[0]!.toFixed(1), median(times)];
  say(`  receipts  of epoch ${epoch}: the first ${first} ms, the median of ${RECEIPTS} ${middle.toFixed(2)} ms`);
  return middle;
}

function entryLine(leaf: number, receivedAt: string): { entry: string; line: string } {
  const salt = createHash('sha256').update(`salt ${leaf}`).digest();
  const record = `{"id":"evt-${leaf}","kind":"action_executed","entity_id":"order-${leaf}","entity_type":"order","created_at":"${receivedAt}","actor_id":"support-agent","data":{"action":"REFUND_ORDER","amount_cents":500}}`;
  const body = `{"attribution":null,"record":${record}}`;
  const commitment = createHmac('sha256', salt).update(body).digest('hex');
  const entry = `{"v":1,"id":"evt-${leaf}","received_at":"${receivedAt}","key":"k0123456789abcde","commitment":"${commitment}"}`;
  const disclosure = leaf % DISCLOSED === 0 ? { salt: toHex(salt), body } : null;
  return { entry, line: `${JSON.stringify({ entry, disclosure })}\n` };
}

/** Writes the month as a bundle, and with it the policy. */
async function writeMonth(bundle: string): Promise<void> {
  const file = createWriteStream(bundle);
  const write = async (text: string): Promise<void> => {
    if (!file.write(text)) await once(file, 'drain');
  };
  const signer = accountOf('genesis');
  const genesisSigner = addressOf(signer);
  const logId = logIdOf(genesisSigner, ORIGIN);
  const to = PERIOD + (SEALS - 1) * PERIOD_SECONDS;
  const header = {
    format: 'kiff.bundle/1',
    origin: ORIGIN,
    genesisSigner,
    registry: REGISTRY,
    periodSeconds: PERIOD_SECONDS,
  };
  await write(`${JSON.stringify({ ...header, from: PERIOD, to })}\n`);
  const tree = new CompactRange(0, [], sha256);
  let prev = ZERO;
  for (let seq = 1; seq <= SEALS; seq++) {
    const period = PERIOD + (seq - 1) * PERIOD_SECONDS;
    const size = Math.floor((ENTRIES * seq) / SEALS);
    const lines: string[] = [];
    for (let leaf = tree.size, first = leaf; leaf < size; leaf++) {
      const { entry, line } = entryLine(leaf, new Date(period * 1000 + (leaf - first)).toISOString());
      tree.append(hashLeaf(Buffer.from(entry), sha256));
      lines.push(line);
    }
    const root = toHex(tree.root());
    const statement: Seal = { logId, seq, period, treeSize: size, root, prev };
    prev = structHash('Seal', statement);
    const seal = {
      ...statement,
      signer: genesisSigner,
      epoch: 0,
      signature: await signed(signer, REGISTRY, 'Seal', statement),
    };
    const anchor = {
      txHash: bytesOf(`tx ${seq}`),
      blockNumber: 1000 + seq,
      blockHash: bytesOf(`block ${seq}`),
      logIndex: 0,
    };
    await write(`${JSON.stringify({ seal, checkpoint: checkpointOf(ORIGIN, size, root, OPERATOR), anchor })}\n`);
    await write(lines.join(''));
  }
  await write(`${JSON.stringify({ seals: SEALS, entries: ENTRIES })}\n`);
  file.end();
  await once(file, 'close');
}

async function month(): Promise<{ monthSeconds: number; monthMiB: number }> {
  const folder = mkdtempSync(join(tmpdir(), 'kiff-cloud-bench-'));
  try {
    const [bundle, policy] = [join(folder, 'month'), join(folder, 'policy.json')];
    say('  month     writing the bundle');
    await writeMonth(bundle);
    writeFileSync(policy, JSON.stringify(makePolicy()));
    const start = performance.now();
    const child = spawn(
      process.execPath,
      [
        `--import=data:text/javascript,process.on('exit',()=>process.stderr.write('peak '+process.resourceUsage().maxRSS))`,
        join(packageRoot, 'dist/cli/kiff.js'),
        'verify',
        bundle,
        '--policy',
        policy,
        '--offline',
      ],
      { stdio: ['ignore', 'ignore', 'pipe'] },
    );
    let said = '';
    child.stderr.setEncoding('utf8').on('data', (text: string) => (said += text));
    const [code] = (await once(child, 'close')) as [number | null];
    const monthSeconds = (performance.now() - start) / 1000;
    const peak = /peak (\d+)$/.exec(said)?.[1];
    if (code !== 0 || peak === undefined) throw new Error(`kiff verify ended with ${code}: ${said}`);
    const monthMiB = Math.round(Number(peak) / 1024);
    say(`  month     ${SEALS} seals, ${ENTRIES} entries: ${monthSeconds.toFixed(1)} s, ${monthMiB} MiB`);
    return { monthSeconds, monthMiB };
  } finally {
    rmSync(folder, { recursive: true });
  }
}

// One with a handover has four signatures of secp256k1 in place of one; it is shown, and not the figure.
await receiptMs(1);
const receipts = await receiptMs(0);
const { monthSeconds, monthMiB } = await month();
say(JSON.stringify({ receiptMs: rounded(receipts), monthSeconds: rounded(monthSeconds), monthMiB }));
