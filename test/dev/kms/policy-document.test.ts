import assert from 'node:assert/strict';
import fc from 'fast-check';
import { matchesArn, matchesPattern } from '../../../dev/kms/pattern.ts';
import { parseKeyPolicy } from '../../../dev/kms/policy-document.ts';

const signer = 'arn:aws:iam::111122223333:role/signer';
const allow = (more: object = {}) => ({
  Effect: 'Allow',
  Principal: { AWS: signer },
  Action: 'kms:Sign',
  Resource: '*',
  ...more,
});
const deny = (more: object = {}) => ({ Effect: 'Deny', Principal: '*', Action: 'kms:Sign', Resource: '*', ...more });

describe('dev/kms key policy document', () => {
  describe('what it does not understand, it refuses', () => {
    const bad: [string, unknown][] = [
      ['no object', []],
      ['no statement', { Version: '2012-10-17' }],
      ['an empty statement list', { Statement: [] }],
      ['an unknown version', { Version: '2020-01-01', Statement: [allow()] }],
      ['an unknown member', { Statement: [allow()], Sttement: [] }],
      ['an unknown effect', { Statement: [allow({ Effect: 'Maybe' })] }],
      ['NotResource', { Statement: [allow({ NotResource: '*' })] }],
      ['no resource', { Statement: [allow({ Resource: undefined })] }],
      ['no principal', { Statement: [allow({ Principal: undefined })] }],
      ['both principals', { Statement: [deny({ NotPrincipal: { AWS: signer } })] }],
      [
        'NotPrincipal with Allow',
        { Statement: [{ Effect: 'Allow', NotPrincipal: { AWS: signer }, Action: '*', Resource: '*' }] },
      ],
      ['a wildcard in a principal', { Statement: [allow({ Principal: { AWS: 'arn:aws:iam::111122223333:role/*' } })] }],
      ['a service principal', { Statement: [allow({ Principal: { Service: 'logs.amazonaws.com' } })] }],
      ['a bare name as principal', { Statement: [allow({ Principal: { AWS: 'signer' } })] }],
      ['no action', { Statement: [allow({ Action: undefined })] }],
      ['both actions', { Statement: [allow({ NotAction: 'kms:Sign' })] }],
      ['an action of another service', { Statement: [allow({ Action: 's3:GetObject' })] }],
      ['an unknown operator', { Statement: [allow({ Condition: { NumericEquals: { 'kms:MessageType': 1 } } })] }],
      [
        'a set operator',
        { Statement: [allow({ Condition: { 'ForAnyValue:StringEquals': { 'kms:MessageType': 'RAW' } } })] },
      ],
      ['NullIfExists', { Statement: [allow({ Condition: { NullIfExists: { 'kms:MessageType': 'true' } } })] }],
      ['an unknown key', { Statement: [allow({ Condition: { StringEquals: { 'aws:SourceIp': '10.0.0.1' } } })] }],
      [
        'a policy variable',
        { Statement: [allow({ Condition: { StringEquals: { 'kms:CallerAccount': '${aws:x}' } } })] },
      ],
      [
        'an ARN operator on a text',
        { Statement: [allow({ Condition: { ArnEquals: { 'kms:MessageType': signer } } })] },
      ],
      [
        'an ARN operator without an ARN',
        { Statement: [allow({ Condition: { ArnEquals: { 'aws:PrincipalArn': 'signer' } } })] },
      ],
      ['Bool on a text', { Statement: [allow({ Condition: { Bool: { 'kms:MessageType': 'true' } } })] }],
      ['Null with another word', { Statement: [allow({ Condition: { Null: { 'kms:MessageType': 'yes' } } })] }],
    ];
    for (const [what, document] of bad) {
      it(what, () => {
        assert.throws(() => parseKeyPolicy(JSON.stringify(document)), { name: 'MalformedPolicyDocumentException' });
      });
    }
    it('control: the statement that the cases above spoil is good', () => {
      assert.equal(parseKeyPolicy(JSON.stringify({ Statement: [allow()] })).length, 1);
      assert.equal(parseKeyPolicy(JSON.stringify({ Statement: allow() })).length, 1);
    });
  });

  describe('patterns', () => {
    it('every text matches itself with parts cut out for *', () => {
      fc.assert(
        fc.property(fc.string({ unit: 'grapheme-ascii' }), fc.nat(), fc.nat(), (text, a, b) => {
          fc.pre(!text.includes('*') && !text.includes('?'));
          const [from, to] = [a % (text.length + 1), b % (text.length + 1)].toSorted((x, y) => x - y) as [
            number,
            number,
          ];
          assert.ok(matchesPattern(`${text.slice(0, from)}*${text.slice(to)}`, text));
          assert.ok(matchesPattern(text, text));
          assert.ok(!matchesPattern(text, `${text}x`));
        }),
      );
    });

    it('no wildcard of an ARN swallows a colon before the last part', () => {
      assert.ok(matchesArn('arn:aws:iam::*:role/x', 'arn:aws:iam::111122223333:role/x'));
      assert.ok(!matchesArn('arn:*:role/x', 'arn:aws:iam::111122223333:role/x'));
      assert.ok(!matchesArn('arn:aws:*:*:role/x', 'arn:aws:iam:a:b:role/x'));
    });
  });
});
