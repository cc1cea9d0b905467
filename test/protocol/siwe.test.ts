import assert from 'node:assert/strict';
import fc from 'fast-check';
import { getAddress, hashMessage } from 'viem';
import { createSiweMessage } from 'viem/siwe';
import { checksumAddress } from '../../protocol/address.ts';
import type { Hex } from '../../protocol/hex.ts';
import { personalMessageDigest } from '../../protocol/personal-message.ts';
import { parseSiweMessage, siweText, SiweError, type SiweMessage } from '../../protocol/siwe.ts';
import { accountOf } from './receipt-factory.ts';

const ADDRESS = accountOf('wallet').address.toLowerCase() as Hex;

const MESSAGE: SiweMessage = {
  domain: 'app.kiff.test',
  address: ADDRESS,
  statement: 'Link this wallet. It gives no rights.',
  uri: 'https://app.kiff.test',
  chainId: 8453,
  nonce: 'abcdef0123456789',
  issuedAt: Date.parse('2026-11-24T10:00:00.000Z'),
  expirationTime: Date.parse('2026-11-24T10:10:00.000Z'),
  notBefore: Date.parse('2026-11-24T09:59:00.000Z'),
  requestId: 'r-1',
  resources: ['https://kiff.test/t/acme/actors/agent-1', 'ipfs://bafy/x?y=%20#z'],
};

/** The EIP's own example, with what it varies. */
const example = (first: string): string =>
  [
    `${first} wants you to sign in with your Ethereum account:`,
    '0xC02aaA39b223FE8D0A0e5C4F27eAD9083C756Cc2',
    '',
    'I accept the ExampleOrg Terms of Service: https://example.com/tos',
    '',
    'URI: https://example.com/login',
    'Version: 1',
    'Chain ID: 1',
    'Nonce: 32891756',
    'Issued At: 2021-09-30T16:25:24Z',
    'Resources:',
    '- ipfs://bafybeiemxf5abjwjbikoz4mc3a3dla6ual3jsgpdr4cjr3oz3evfyavhwq/',
    '- https://example.com/my-web2-claim.json',
  ].join('\n');

describe('protocol/address', () => {
  it('writes the checksum of EIP-55 as others do', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 20, maxLength: 20 }), (bytes) => {
        const address = `0x${Buffer.from(bytes).toString('hex')}` as const;
        assert.equal(checksumAddress(address), getAddress(address));
      }),
    );
    for (const bad of ['0x00', ADDRESS.toUpperCase(), `${ADDRESS}00`]) {
      assert.throws(() => checksumAddress(bad as Hex), TypeError);
    }
  });
});

describe('protocol/personal-message', () => {
  it('hashes texts as wallets do (EIP-191), by their length in bytes', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme' }), (text) =>
        assert.equal(personalMessageDigest(text), hashMessage(text)),
      ),
    );
  });
});

describe('protocol/siwe', () => {
  it('writes what it reads, and what another library writes', () => {
    assert.deepEqual(parseSiweMessage(siweText(MESSAGE)), MESSAGE);
    const { issuedAt, expirationTime, notBefore, resources, ...rest } = MESSAGE;
    const theirs = createSiweMessage({
      ...rest,
      address: getAddress(ADDRESS),
      version: '1',
      issuedAt: new Date(issuedAt),
      expirationTime: new Date(expirationTime!),
      notBefore: new Date(notBefore!),
      resources: [...resources!],
    });
    assert.equal(siweText(MESSAGE), theirs);
  });

  it('reads the examples of EIP-4361', () => {
    assert.equal(parseSiweMessage(example('example.com')).domain, 'example.com');
    assert.equal(parseSiweMessage(example('example.com:3388')).domain, 'example.com:3388');
    const { scheme, domain, resources } = parseSiweMessage(example('https://example.com'));
    assert.deepEqual([scheme, domain, resources?.length], ['https', 'example.com', 2]);
  });

  it('takes every optional field as optional', () => {
    const { domain, address, uri, chainId, nonce, issuedAt } = MESSAGE;
    const least = { domain, address, uri, chainId, nonce, issuedAt };
    assert.deepEqual(parseSiweMessage(siweText(least)), least);
    assert.deepEqual(parseSiweMessage(siweText({ ...least, resources: [] })), { ...least, resources: [] });
  });

  const text = siweText(MESSAGE);
  const lines = text.split('\n');
  const without = (line: number): string => lines.toSpliced(line, 1).join('\n');
  const instead = (line: number, ...other: string[]): string => lines.toSpliced(line, 1, ...other).join('\n');
  const refused: Record<string, string> = {
    nothing: '',
    'another first line': instead(0, 'app.kiff.test wants you to sign in with your Bitcoin account:'),
    'a user name in front of the host': instead(
      0,
      'app.kiff.test@evil.example wants you to sign in with your Ethereum account:',
    ),
    'an address without a checksum': instead(1, ADDRESS),
    'an address with a wrong checksum': instead(
      1,
      lines[1]!.replace(/[a-f]/, (digit) => digit.toUpperCase()),
    ),
    'no empty line behind the address': without(2),
    'a statement of two lines': instead(3, 'one', 'two'),
    'a statement with a quotation mark': instead(3, 'a "b"'),
    'a carriage return': text.replaceAll('\n', '\r\n'),
    'no URI': without(5),
    'a URI without a scheme': instead(5, 'URI: app.kiff.test'),
    'a URI with a space': instead(5, 'URI: https://a b'),
    'version 2': instead(6, 'Version: 2'),
    'a chain id with a leading zero': instead(7, 'Chain ID: 08453'),
    'a chain id in hexadecimal': instead(7, 'Chain ID: 0x2105'),
    'a short nonce': instead(8, 'Nonce: abc1234'),
    'a nonce with a dash': instead(8, 'Nonce: abcdef-0123456789'),
    'a field twice': instead(8, lines[8]!, lines[8]!),
    'fields in another order': instead(7, lines[8]!, lines[7]!).replace(`\n${lines[8]!}\nIssued`, '\nIssued'),
    'a day that does not exist': instead(9, 'Issued At: 2026-02-30T10:00:00Z'),
    'a time in words': instead(9, 'Issued At: Tue Nov 24 2026'),
    'another spelling of a name': instead(9, lines[9]!.replace('Issued At', 'issued at')),
    'an expiry behind the beginning': [...lines.slice(0, 10), lines[11]!, lines[10]!, ...lines.slice(12)].join('\n'),
    'a request id with a slash': instead(12, 'Request ID: a/b'),
    'a resource that is no URI': `${text}\n- not a uri`,
    'a line feed at the end': `${text}\n`,
    'something behind the fields': `${lines.slice(0, 13).join('\n')}\nPS: and my house`,
  };
  for (const [what, message] of Object.entries(refused)) {
    it(`refuses ${what}`, () => {
      assert.notEqual(message, text);
      assert.throws(() => parseSiweMessage(message), SiweError);
    });
  }

  it('writes no field that would change the message’s shape', () => {
    for (const changed of [
      { statement: 'a\nURI: https://evil.example' },
      { uri: 'https://app.kiff.test\nVersion: 1' },
      { resources: ['https://a\n- https://b'] },
      { nonce: 'short' },
    ]) {
      assert.throws(() => siweText({ ...MESSAGE, ...changed }), SiweError);
    }
  });
});
