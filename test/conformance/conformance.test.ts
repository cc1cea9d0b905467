/** The conformance kit: its files are what the script writes, and both verifiers kept here pass it. */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { drive, readManifest } from '../../conformance/drive.ts';
import { kitFiles } from '../../conformance/files.ts';
import { PYTHON, python3 } from '../../conformance/python.ts';
import { packageRoot } from '../../dev/root.ts';

const KIT = join(packageRoot, 'conformance');
const OURS = [process.execPath, '--enable-source-maps', join(packageRoot, 'dist/conformance/ours.js')];

describe('conformance kit', function () {
  this.timeout(60_000);

  const { cases } = readManifest(KIT);
  const failures = async (command: readonly string[]): Promise<string[]> =>
    (await drive(KIT, command)).filter(({ passed }) => !passed).map(({ name, answered }) => `${name}: ${answered}`);

  it('is what its script writes, to the byte, and nothing besides', async () => {
    const files = await kitFiles();
    for (const [path, text] of files) assert.equal(readFileSync(join(KIT, path), 'utf8'), text, path);
    for (const folder of ['cases', 'policies']) {
      const standing = readdirSync(join(KIT, folder)).map((file) => `${folder}/${file}`);
      assert.deepEqual(standing.toSorted(), [...files.keys()].filter((path) => path.startsWith(folder)).toSorted());
    }
  });

  it('has cases of each kind, accepted and refused, and of every check that needs no chain', () => {
    assert(cases.length >= 60);
    const named = new Set(
      cases.flatMap(({ kind, fails }) => [`${kind} accepted`, ...fails.map((check) => `${kind}: ${check}`)]),
    );
    for (const kind of ['receipt', 'certificate', 'bundle', 'promise', 'end']) assert(named.has(`${kind} accepted`));
    const offline: Record<string, string> = {
      receipt: 'format,policy,commitment,leaf,period,inclusion,log id,signature,handovers',
      certificate: 'format,policy,log id,handovers,proof,approvals,trial,old key',
      bundle: 'format,policy,log id,base,sequence,periods,handovers,signature,leaf,period,roots,commitment,end,anchor',
      promise: 'format,policy,signature,receipt,leaf,kept',
      end: 'format,policy,signature,receipts,last seal',
    };
    for (const [kind, checks] of Object.entries(offline)) {
      for (const check of checks.split(',')) assert(named.has(`${kind}: ${check}`), `${kind}: ${check}`);
    }
  });

  it('our verifier passes it', async () => {
    assert.deepEqual(await failures(OURS), []);
  });

  it('the verifier in Python passes it', async function () {
    const python = await python3();
    if (python === undefined) {
      process.stdout.write('      python3 is not here: the second verifier was not driven\n');
      return this.skip();
    }
    assert.deepEqual(await failures([python, PYTHON]), []);
  });

  it('a verifier that accepts everything fails at every case that is refused, and one that ends is told so (control)', async () => {
    const yes = [
      process.execPath,
      '-e',
      "process.stdin.on('data', (data) => process.stdout.write('accept\\n'.repeat(String(data).split('\\n').length - 1)))",
    ];
    assert.equal((await failures(yes)).length, cases.filter(({ expect }) => expect === 'reject').length);
    await assert.rejects(drive(KIT, [process.execPath, '-e', '']), /the verifier ended at/);
    await assert.rejects(drive(KIT, ['/nowhere/verifier']), /the verifier ended at/);
  });
});
