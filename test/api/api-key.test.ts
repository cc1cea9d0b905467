import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import fc from 'fast-check';
import { createApiKey, parseApiKey } from '../../api/ingest/api-key.ts';

describe('API keys', () => {
  it('have the documented form and name their tenant', () => {
    const { id, key, hash } = createApiKey('acme');
    assert.match(id, /^k[a-z0-9]{15}$/);
    assert.match(key, /^kiff_live_acme_[0-9A-Za-z]{38}$/);
    assert.deepEqual(hash, createHash('sha256').update(key).digest());
    assert.deepEqual(parseApiKey(key), { tenant: 'acme' });
  });

  it('are never the same twice', () => {
    const keys = Array.from({ length: 200 }, () => createApiKey('acme'));
    assert.equal(new Set(keys.map(({ key }) => key)).size, 200);
    assert.equal(new Set(keys.map(({ id }) => id)).size, 200);
  });

  it('are not made for what is no tenant id', () => {
    for (const tenant of ['', 'ab', 'Acme', '1acme', 'a_b_c', `a${'b'.repeat(24)}`, "x'; DROP"]) {
      assert.throws(() => createApiKey(tenant), RangeError);
    }
  });

  it('with any one character changed are refused', () => {
    const { key } = createApiKey('acme');
    fc.assert(
      fc.property(fc.nat(key.length - 1), fc.constantFrom('a', 'Z', '0', '9', '_', '-', '.'), (at, char) => {
        fc.pre(key[at] !== char);
        assert.equal(parseApiKey(key.slice(0, at) + char + key.slice(at + 1)), null);
      }),
    );
  });

  it('that are longer, shorter or something else are refused', () => {
    const { key } = createApiKey('acme');
    for (const text of ['', 'kiff_live_', `${key}a`, key.slice(1), key.slice(0, -1), ` ${key}`, `${key}\n`]) {
      assert.equal(parseApiKey(text), null);
    }
    assert.equal(parseApiKey(key.repeat(200)), null);
  });
});
