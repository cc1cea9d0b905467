/** Where a tenant's webhook may go: the internet, and nothing of ours, in whatever spelling. */
import assert from 'node:assert/strict';
import { isPublic, judgedLookup, judgeUrl, RefusedDestination } from '../../workers/notify/destination.ts';

const lookUp = (all: boolean, allowLoopback: boolean) =>
  new Promise<unknown>((resolve, reject) => {
    judgedLookup(allowLoopback)('localhost', { all }, (error, address) =>
      error === null ? resolve(address) : reject(error),
    );
  });

describe('a webhook’s destination', () => {
  for (const address of ['93.184.216.34', '2606:2800:21f:cb07:6820:80da:af6b:8b2c', '8.8.8.8']) {
    it(`${address} is anybody’s`, () => assert.equal(isPublic(address), true));
  }
  for (const address of [
    '127.0.0.1',
    '10.1.2.3',
    '172.16.0.1',
    '192.168.1.1',
    '169.254.169.254',
    '100.64.0.1',
    '0.0.0.0',
    '192.0.2.1',
    '198.18.0.1',
    '224.0.0.1',
    '240.0.0.1',
    '255.255.255.255',
    '::',
    '::1',
    'fe80::1',
    'fc00::1',
    'ff02::1',
    '::ffff:10.0.0.1',
    '::ffff:169.254.169.254',
    '64:ff9b::a00:1',
    '2002:a00:1::',
    '2001:db8::1',
    'no address',
  ]) {
    it(`${address} is not`, () => assert.equal(isPublic(address), false));
  }

  for (const url of [
    'http://example.org/',
    'ftp://example.org/',
    'https://user:word@example.org/',
    'https://127.0.0.1/',
    'https://[::1]/',
    'https://2130706433/',
    'https://0x7f.1/',
    'https://[::ffff:169.254.169.254]/',
    'no url',
  ]) {
    it(`${url} is refused as it stands`, () => {
      assert.throws(() => judgeUrl(url, false), RefusedDestination);
    });
  }
  it('a public name and a public address are not', () => {
    judgeUrl('https://example.org/hook?a=1', false);
    judgeUrl('https://93.184.216.34/hook', false);
  });
  it('on a local stack this machine is let in, and no other one', () => {
    judgeUrl('http://127.0.0.1:1/', true);
    judgeUrl('http://localhost:1/', true);
    for (const url of ['http://10.0.0.1/', 'https://192.168.0.1/', 'http://example.org/']) {
      assert.throws(() => judgeUrl(url, true), RefusedDestination);
    }
  });

  for (const all of [true, false]) {
    it(`a name that leads to this machine is refused when it is looked up (${all ? 'all' : 'one'})`, async () => {
      await assert.rejects(lookUp(all, false), RefusedDestination);
      assert.ok(await lookUp(all, true), 'control: it does lead here');
    });
  }
});
