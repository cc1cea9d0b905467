import { GenerateRandomCommand, ListKeysCommand } from '@aws-sdk/client-kms';
import assert from 'node:assert/strict';
import { createHash, createHmac } from 'node:crypto';
import { verifySigV4 } from '../../../dev/kms/sigv4.ts';
import type { SignedRequest } from '../../../dev/kms/sigv4.ts';
import { principals, refused, startHarness } from './harness.ts';
import type { Harness } from './harness.ts';

const now = Date.UTC(2026, 10, 23, 12);
const credential = { secretAccessKey: 'secret' };
const lookUp = (id: string) => (id === 'AKIATEST' ? credential : undefined);

const hash = (data: string | Buffer): string => createHash('sha256').update(data).digest('hex');

interface Wish {
  service?: string;
  scopeDate?: string;
  amzDate?: string;
  secret?: string;
  signedHeaders?: string[];
  /** Changes the request after it was signed. */
  tamper?: (request: { headers: Record<string, string>; body: Buffer }) => void;
}

/** A signer written from the specification for these tests alone, so that each of its parts can be got wrong on purpose. */
function signed(wish: Wish = {}): SignedRequest {
  const { service = 'kms', scopeDate = '20261123', amzDate = '20261123T120000Z', secret = 'secret' } = wish;
  const headers: Record<string, string> = {
    host: '127.0.0.1:1',
    'x-amz-date': amzDate,
    'x-amz-target': 'TrentService.ListKeys',
  };
  const body = Buffer.from('{}');
  const names = (wish.signedHeaders ?? Object.keys(headers)).toSorted();
  const canonical = [
    'POST',
    '/',
    '',
    ...names.map((name) => `${name}:${headers[name]}`),
    '',
    names.join(';'),
    hash(body),
  ].join('\n');
  const scope = `${scopeDate}/eu-central-1/${service}/aws4_request`;
  const key = scope
    .split('/')
    .reduce<Buffer | string>((k, part) => createHmac('sha256', k).update(part).digest(), `AWS4${secret}`);
  const signature = createHmac('sha256', key)
    .update(`AWS4-HMAC-SHA256\n${amzDate}\n${scope}\n${hash(canonical)}`)
    .digest('hex');
  headers['authorization'] =
    `AWS4-HMAC-SHA256 Credential=AKIATEST/${scope}, SignedHeaders=${names.join(';')}, Signature=${signature}`;
  const request = { headers, body };
  wish.tamper?.(request);
  return { method: 'POST', url: '/', now, ...request };
}

describe('dev/kms SigV4', () => {
  it('accepts what is signed right', () => {
    assert.deepEqual(verifySigV4(signed(), lookUp), { accessKeyId: 'AKIATEST', region: 'eu-central-1' });
  });

  const bad: [string, Wish, string][] = [
    ['another secret', { secret: 'guess' }, 'InvalidSignatureException'],
    ['another body', { tamper: (r) => r.body.write('[]') }, 'InvalidSignatureException'],
    [
      'another action',
      { tamper: (r) => (r.headers['x-amz-target'] = 'TrentService.Sign') },
      'InvalidSignatureException',
    ],
    ['an action that is not signed', { signedHeaders: ['host', 'x-amz-date'] }, 'InvalidSignatureException'],
    ['a host that is not signed', { signedHeaders: ['x-amz-target', 'x-amz-date'] }, 'InvalidSignatureException'],
    ['a header added later', { tamper: (r) => (r.headers['x-amz-extra'] = '1') }, 'InvalidSignatureException'],
    ['another service', { service: 's3' }, 'InvalidSignatureException'],
    ['another day in the scope', { scopeDate: '20261122' }, 'InvalidSignatureException'],
    ['a signature six minutes old', { amzDate: '20261123T115359Z' }, 'InvalidSignatureException'],
    ['a signature six minutes ahead', { amzDate: '20261123T120601Z' }, 'InvalidSignatureException'],
    ['a date in another form', { amzDate: '20261123 120000' }, 'IncompleteSignatureException'],
    [
      'half an Authorization',
      { tamper: (r) => (r.headers['authorization'] = 'AWS4-HMAC-SHA256 Credential=AKIATEST') },
      'IncompleteSignatureException',
    ],
    ['no Authorization', { tamper: (r) => delete r.headers['authorization'] }, 'MissingAuthenticationTokenException'],
  ];
  for (const [what, wish, name] of bad) {
    it(`refuses ${what}`, () => {
      assert.throws(() => verifySigV4(signed(wish), lookUp), { name });
    });
  }

  describe('through the SDK', () => {
    let harness: Harness;
    before(async () => {
      harness = await startHarness();
    });
    after(() => harness.stop());
    const list = (config: object) => harness.as('owner', config).send(new ListKeysCommand({}));

    it('accepts the right secret', async () => {
      assert.deepEqual((await list({})).Keys, []);
    });
    it('refuses a wrong secret', () =>
      refused(
        list({ credentials: { accessKeyId: 'AKIAOWNER', secretAccessKey: 'wrong' } }),
        'InvalidSignatureException',
      ));
    it('refuses an unknown access key', () =>
      refused(
        list({ credentials: { accessKeyId: 'AKIANOBODY', secretAccessKey: 'owner-secret' } }),
        'UnrecognizedClientException',
      ));
    it('refuses another principal’s secret', () =>
      refused(
        list({ credentials: { accessKeyId: 'AKIAOWNER', secretAccessKey: principals.AKIAADMIN.secretAccessKey } }),
        'InvalidSignatureException',
      ));
    it('refuses a session without its token, and a token where none belongs', async () => {
      const { secretAccessKey } = principals.AKIASESSION;
      await refused(
        list({ credentials: { accessKeyId: 'AKIASESSION', secretAccessKey } }),
        'UnrecognizedClientException',
      );
      const extra = { accessKeyId: 'AKIAOWNER', secretAccessKey: 'owner-secret', sessionToken: 'x' };
      await refused(list({ credentials: extra }), 'UnrecognizedClientException');
    });
    it('refuses a clock an hour off, and the SDK recovers by the answer’s Date', async () => {
      await refused(list({ systemClockOffset: -3_600_000 }), 'InvalidSignatureException', /expired/);
      assert.deepEqual((await list({ systemClockOffset: -3_600_000, maxAttempts: 2 })).Keys, []);
    });
    it('answers by AWS’s names what is unsigned, unknown, or no JSON', async () => {
      const unsigned = await fetch(harness.kms.url, { method: 'POST', body: '{}' });
      assert.equal(unsigned.status, 400);
      assert.equal(
        ((await unsigned.json()) as Record<string, unknown>)['__type'],
        'MissingAuthenticationTokenException',
      );
      const owner = harness.as('owner');
      await refused(owner.send(new GenerateRandomCommand({ NumberOfBytes: 1 })), 'UnknownOperationException');
      owner.middlewareStack.add(
        (next) => (call) => {
          (call.request as { body: unknown }).body = '{"Limit":';
          return next(call);
        },
        { step: 'build', priority: 'high' },
      );
      await refused(owner.send(new ListKeysCommand({})), 'SerializationException');
    });
  });
});
