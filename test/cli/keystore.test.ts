/** The two test vectors of the Web3 Secret Storage specification, and files that are none. */
import assert from 'node:assert/strict';
import { UsageError } from '../../cli/command.ts';
import { openKeystore } from '../../cli/keystore.ts';

const KEY = '0x7a28b5ba57c53603b0b07b56bba752f7784bf506fa95edc395f5cf6c7514fe9d';
const PASSWORD = 'testpassword';

const PBKDF2 = {
  crypto: {
    cipher: 'aes-128-ctr',
    cipherparams: { iv: '6087dab2f9fdbbfaddc31a909735c1e6' },
    ciphertext: '5318b4d5bcd28de64ee5559e671353e16f075ecae9f99c7a79a38af5f869aa46',
    kdf: 'pbkdf2',
    kdfparams: {
      c: 262_144,
      dklen: 32,
      prf: 'hmac-sha256',
      salt: 'ae3cd4e7013836a3df6bd7241b12db061dbe2c6785853cce422d148a624ce0bd',
    },
    mac: '517ead924a9d0dc3124507e3393d175ce3ff7c1e96529c6c555ce9e51205e9b2',
  },
  id: '3198bc9c-6672-5ab3-d995-4942343ae5b6',
  version: 3,
};

const SCRYPT = {
  crypto: {
    cipher: 'aes-128-ctr',
    cipherparams: { iv: '83dbcc02d8ccb40e466191a123791e0e' },
    ciphertext: 'd172bf743a674da9cdad04534d56926ef8358534d458fffccd4e6ad2fbde479c',
    kdf: 'scrypt',
    kdfparams: {
      dklen: 32,
      n: 262_144,
      p: 8,
      r: 1,
      salt: 'ab0c7876052600dd703518d6fc3fe8984592145b591fc8fb5c6d43190334ba19',
    },
    mac: '2103ac29920d71da29f15d75b4a16dbe95cfd7ff8faea1056c33131d846e3097',
  },
  id: '3198bc9c-6672-5ab3-d995-4942343ae5b6',
  version: 3,
};

describe('an encrypted keystore', function () {
  this.timeout(30_000);

  it('opens by the vectors of its specification', () => {
    assert.equal(openKeystore(JSON.stringify(PBKDF2), PASSWORD), KEY);
    assert.equal(openKeystore(JSON.stringify(SCRYPT), PASSWORD), KEY);
  });

  it('does not open with another password', () => {
    assert.throws(() => openKeystore(JSON.stringify(PBKDF2), 'testpasswore'), /another password/);
  });

  for (const [what, text, says] of [
    ['no JSON', 'key', /not JSON/],
    ['another version', JSON.stringify({ ...PBKDF2, version: 1 }), /version/],
    ['another cipher', JSON.stringify({ ...PBKDF2, crypto: { ...PBKDF2.crypto, cipher: 'aes-128-cbc' } }), /cipher/],
    [
      'a derivation that would take all memory',
      JSON.stringify({
        ...SCRYPT,
        crypto: { ...SCRYPT.crypto, kdfparams: { ...SCRYPT.crypto.kdfparams, n: 2 ** 24, r: 64 } },
      }),
      /memory/,
    ],
    [
      'a derivation that would take all day',
      JSON.stringify({
        ...PBKDF2,
        crypto: { ...PBKDF2.crypto, kdfparams: { ...PBKDF2.crypto.kdfparams, c: 2 ** 40 } },
      }),
      /kdfparams/,
    ],
  ] as const) {
    it(`is refused when it is ${what}`, () => {
      assert.throws(
        () => openKeystore(text, PASSWORD),
        (error) => error instanceof UsageError && says.test(error.message) && !error.message.includes(PASSWORD),
      );
    });
  }
});
