/** What the signing worker refuses to start with. */
import assert from 'node:assert/strict';
import { requirePasskeyAge } from '../../workers/signing/env.ts';

describe('the signing worker’s environment', () => {
  it('lets younger passkeys than a day count on local stacks only', () => {
    assert.equal(requirePasskeyAge(0, 60), 0);
    assert.equal(requirePasskeyAge(86_400, 3_600), 86_400);
    assert.throws(() => requirePasskeyAge(86_399, 3_600), /PASSKEY_MIN_AGE_SECONDS/);
  });
});
