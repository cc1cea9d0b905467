/** docs/protocol.md's worked example, against viem and node:crypto (receipt-factory.ts) and against protocol/. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { domainSeparator as separatorOf, hashTypedData } from 'viem';
import { packageRoot } from '../../dev/root.ts';
import {
  domainSeparator,
  leafHash,
  publishedCheckpoint,
  sealDigest,
  sealHash,
  verifierKey,
} from '../../protocol/index.ts';
import { domainOf, makeReceipt, OPERATOR, REGISTRY, structHash, TYPES } from './receipt-factory.ts';

describe('the worked example of docs/protocol.md', () => {
  it('is what other people’s code makes, and ours', async () => {
    const { origin, genesisSigner, disclosure, entry, seal, checkpoint } = await makeReceipt({ size: 1, leafIndex: 0 });
    const { logId, seq, period, treeSize, root, prev, signature } = seal;
    const statement = { logId, seq, period, treeSize, root, prev };
    const domain = domainOf(REGISTRY);
    const digest = hashTypedData({
      domain,
      types: TYPES,
      primaryType: 'Seal',
      message: { ...statement, period: BigInt(period) },
    });
    const separator = separatorOf({ domain });
    const line = publishedCheckpoint(checkpoint!, seal).slice(checkpoint!.length).trimEnd();
    const values: Record<string, string | number> = {
      origin,
      'genesis signer': genesisSigner,
      salt: disclosure!.salt,
      body: disclosure!.body,
      entry,
      'leaf hash, root': root,
      'log id': logId,
      'domain separator': separator,
      'seq, period': `${seq}, ${period}`,
      prev,
      'seal hash': structHash('Seal', statement),
      digest,
      signature,
      'operator key': OPERATOR.publicKey,
      vkey: verifierKey(origin, OPERATOR.publicKey),
      'note, its last line': checkpoint!.trimEnd().split('\n').at(-1)!,
      'seal’s line': line,
    };
    assert.deepEqual(
      [leafHash(entry), domainSeparator(REGISTRY), sealHash(statement), sealDigest(REGISTRY, statement)],
      [root, separator, values['seal hash'], digest],
    );
    const text = readFileSync(join(packageRoot, 'docs/protocol.md'), 'utf8');
    const block = Object.entries(values).map(([name, value]) => `    ${name.padEnd(20)} ${value}\n`);
    assert.ok(text.includes(block.join('')), `the example is not:\n${block.join('')}`);
  });
});
