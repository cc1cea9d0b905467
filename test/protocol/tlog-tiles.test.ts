import assert from 'node:assert/strict';
import fc from 'fast-check';
import { bundlePath, decodeBundle, encodeBundle, parseIndexPath, tilePath } from '../../protocol/tlog-tiles.ts';

describe('addresses of tiles', () => {
  it('are those of the specification’s examples', () => {
    assert.equal(tilePath({ level: 0, index: 1_234_067, width: 256 }), 'tile/0/x001/x234/067');
    assert.equal(tilePath({ level: 2, index: 0, width: 1 }), 'tile/2/000.p/1');
    assert.equal(bundlePath({ index: 273, width: 112 }), 'tile/entries/273.p/112');
    assert.equal(bundlePath({ index: 1_000, width: 256 }), 'tile/entries/x001/000');
  });

  it('are read back, whatever the index and the width', () => {
    const index = fc.oneof(fc.nat(2_000), fc.integer({ min: 0, max: 2 ** 40 }));
    fc.assert(
      fc.property(index, fc.integer({ min: 1, max: 256 }), (at, width) => {
        const path = bundlePath({ index: at, width }).slice('tile/entries/'.length);
        assert.deepEqual(parseIndexPath(path), { index: at, width });
      }),
    );
  });

  it('have one spelling: anything else is no address', () => {
    const none = ['', '0', '00', '0000', 'x000/000', 'x001', '001/000', 'x001/0', '000.p/0', '000.p/256', '000.p/01'];
    for (const path of [
      ...none,
      '000.p',
      '000.p/',
      '-01',
      '+01',
      '0 1',
      '000/',
      '/000',
      'X001/000',
      '٠٠٠',
      '000.p/1/',
    ]) {
      assert.equal(parseIndexPath(path), undefined, path);
    }
    assert.equal(parseIndexPath(`${'x001/'.repeat(6)}000`), undefined);
  });

  it('are not made of what is no tile', () => {
    for (const index of [-1, 0.5, Number.NaN, 2 ** 53])
      assert.throws(() => bundlePath({ index, width: 1 }), RangeError);
    for (const width of [0, 257, 1.5]) assert.throws(() => bundlePath({ index: 0, width }), RangeError);
    for (const level of [-1, 64, 0.5]) assert.throws(() => tilePath({ level, index: 0, width: 1 }), RangeError);
  });
});

describe('entry bundles', () => {
  const entries = fc.array(fc.uint8Array({ maxLength: 300 }), { minLength: 1, maxLength: 256 });

  it('hold each entry behind its length', () => {
    const bundle = encodeBundle([Uint8Array.of(7, 8), new Uint8Array(256)]);
    assert.deepEqual([...bundle.subarray(0, 6)], [0, 2, 7, 8, 1, 0]);
    assert.equal(bundle.length, 2 + 2 + 2 + 256);
  });

  it('are read back', () => {
    fc.assert(
      fc.property(entries, (list) => {
        assert.deepEqual(
          decodeBundle(encodeBundle(list), list.length).map((entry) => [...entry]),
          list.map((entry) => [...entry]),
        );
      }),
    );
  });

  it('that are cut off, or hold more or fewer entries, are refused', () => {
    const bundle = encodeBundle([Uint8Array.of(1, 2, 3), Uint8Array.of(4)]);
    for (let at = 1; at < bundle.length; at++) assert.throws(() => decodeBundle(bundle.subarray(0, at), 2), TypeError);
    for (const count of [0, 1, 3]) assert.throws(() => decodeBundle(bundle, count), TypeError);
    assert.throws(() => encodeBundle([]), RangeError);
    assert.throws(() => encodeBundle([new Uint8Array(65_536)]), RangeError);
  });
});
