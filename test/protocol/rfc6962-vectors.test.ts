import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { toHex, type Hex } from '../../protocol/hex.ts';
import { verifyConsistency, verifyInclusion } from '../../protocol/proof.ts';

/** The nearest folder above this file whose package.json is ours. */
function packageRoot(): string {
  for (let folder = import.meta.dirname; ; folder = dirname(folder)) {
    const manifest = join(folder, 'package.json');
    if (
      existsSync(manifest) &&
      (JSON.parse(readFileSync(manifest, 'utf8')) as { name?: string }).name === 'kiff-cloud'
    ) {
      return folder;
    }
    if (folder === dirname(folder)) throw new Error('no package.json of kiff-cloud above this file');
  }
}

interface Vector {
  readonly desc: string;
  readonly wantErr: boolean;
  readonly proof: readonly string[] | null;
}

const hex = (base64: string): Hex => toHex(Buffer.from(base64, 'base64'));

describe('the shared RFC 6962 vectors', () => {
  const folder = join(packageRoot(), '../shared/vectors/rfc6962/testdata');

  /** Runs every vector of one kind; the test is skipped, and says so, where the folder is absent. */
  function run(kind: string, verify: (vector: Vector & Record<string, unknown>, proof: Hex[]) => boolean): void {
    const present = existsSync(folder);
    it(`${kind}: 98 cases${present ? '' : ' (skipped: ../shared/vectors/rfc6962 is not here)'}`, function () {
      if (!present) this.skip();
      const files = readdirSync(join(folder, kind), { recursive: true, encoding: 'utf8' }).filter((f) =>
        f.endsWith('.json'),
      );
      assert.equal(files.length, 98);
      const verdicts = { accepted: 0, refused: 0 };
      for (const file of files) {
        const vector = JSON.parse(readFileSync(join(folder, kind, file), 'utf8')) as Vector & Record<string, unknown>;
        const accepted = verify(vector, (vector.proof ?? []).map(hex));
        assert.equal(accepted, !vector.wantErr, `${file}: ${vector.desc}`);
        verdicts[accepted ? 'accepted' : 'refused']++;
      }
      assert.deepEqual(verdicts, { accepted: 6, refused: 92 });
    });
  }

  run('inclusion', (vector, inclusion) =>
    verifyInclusion({
      leafHash: hex(vector['leafHash'] as string),
      leafIndex: vector['leafIdx'] as number,
      treeSize: vector['treeSize'] as number,
      inclusion,
      root: hex(vector['root'] as string),
    }),
  );
  run('consistency', (vector, proof) =>
    verifyConsistency({
      size1: vector['size1'] as number,
      root1: hex(vector['root1'] as string),
      size2: vector['size2'] as number,
      root2: hex(vector['root2'] as string),
      proof,
    }),
  );
});
