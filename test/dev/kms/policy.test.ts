import assert from 'node:assert/strict';
import { parseKeyPolicy } from '../../../dev/kms/policy-document.ts';
import { evaluateKeyPolicy } from '../../../dev/kms/policy.ts';
import type { PolicyOutcome, RequestContext } from '../../../dev/kms/policy.ts';
import { principalOf } from '../../../dev/kms/principal.ts';

const root = 'arn:aws:iam::111122223333:root';
const signer = 'arn:aws:iam::111122223333:role/signer';
const other = 'arn:aws:iam::111122223333:role/other';
const session = 'arn:aws:sts::111122223333:assumed-role/signer/s1';
const resource = 'arn:aws:kms:eu-central-1:111122223333:key/7e4c9b1e-0f8f-4d7e-9a8a-2b1f0a7c3d11';

function judge(
  statements: object | object[],
  arn = signer,
  action = 'kms:Sign',
  context: RequestContext = {},
): PolicyOutcome {
  const parsed = parseKeyPolicy(JSON.stringify({ Version: '2012-10-17', Statement: statements }));
  const caller = principalOf({ arn, secretAccessKey: 'x' });
  return evaluateKeyPolicy(parsed, {
    caller,
    action,
    resource,
    context: { 'aws:principalarn': caller.principalArn, ...context },
  });
}

const allow = (more: object = {}) => ({
  Effect: 'Allow',
  Principal: { AWS: signer },
  Action: 'kms:Sign',
  Resource: '*',
  ...more,
});
const deny = (more: object = {}) => ({ Effect: 'Deny', Principal: '*', Action: 'kms:Sign', Resource: '*', ...more });

const butFor = (NotPrincipal: object) => [
  allow({ Principal: '*' }),
  { Effect: 'Deny', NotPrincipal, Action: 'kms:Sign', Resource: '*' },
];

describe('dev/kms key policy', () => {
  describe('evaluation', () => {
    it('is silent where nothing speaks', () => {
      assert.equal(judge(allow(), other), 'silent');
      assert.equal(judge(allow(), signer, 'kms:DescribeKey'), 'silent');
      assert.equal(judge(allow({ Resource: 'arn:aws:kms:*:*:key/other' })), 'silent');
    });

    it('allows whom it names: alone, in a list, everybody, a session by its role, a role by number of its account only through IAM', () => {
      assert.equal(judge(allow()), 'allow');
      assert.equal(judge(allow({ Principal: { AWS: [other, signer] } })), 'allow');
      assert.equal(judge(allow({ Principal: '*' })), 'allow');
      assert.equal(judge(allow({ Principal: { AWS: '*' } })), 'allow');
      assert.equal(judge(allow(), session), 'allow');
      assert.equal(judge(allow({ Principal: { AWS: session } }), session), 'allow');
      assert.equal(judge(allow({ Principal: { AWS: session } }), signer), 'silent');
      assert.equal(judge(allow({ Principal: { AWS: root } })), 'delegate');
      assert.equal(judge(allow({ Principal: { AWS: '111122223333' } })), 'delegate');
      assert.equal(judge(allow({ Principal: { AWS: root } }), root), 'allow');
      assert.equal(judge(allow({ Principal: { AWS: '444455556666' } })), 'silent');
    });

    it('matches actions without regard to case, with wildcards, and by exception', () => {
      for (const Action of ['kms:*', 'kms:S*', 'kms:Sig?', 'KMS:sign', '*', ['kms:DescribeKey', 'kms:Sign']]) {
        assert.equal(judge(allow({ Action })), 'allow', JSON.stringify(Action));
      }
      assert.equal(judge(allow({ Action: 'kms:Sig' })), 'silent');
      const notAction = (NotAction: string) => judge({ Effect: 'Allow', Principal: '*', NotAction, Resource: '*' });
      assert.equal(notAction('kms:Put*'), 'allow');
      assert.equal(notAction('kms:S*'), 'silent');
    });

    it('an explicit deny wins, wherever it stands', () => {
      assert.equal(judge([allow(), deny()]), 'deny');
      assert.equal(judge([deny(), allow()]), 'deny');
      assert.equal(judge([allow(), deny({ Principal: { AWS: root } })]), 'deny');
      assert.equal(judge([allow(), deny({ Principal: { AWS: signer } })], session), 'deny');
      assert.equal(judge([allow(), deny({ Principal: { AWS: other } })]), 'allow');
    });

    it('denies everybody but one by ArnNotEquals on aws:PrincipalArn', () => {
      const butSigner = deny({ Condition: { ArnNotEquals: { 'aws:PrincipalArn': signer } } });
      const statements = [allow({ Principal: '*' }), butSigner];
      assert.equal(judge(statements), 'allow');
      assert.equal(judge(statements, session), 'allow');
      assert.equal(judge(statements, other), 'deny');
      assert.equal(judge(statements, root), 'deny');
    });

    it('an exception by NotPrincipal needs the account as well as the role', () => {
      assert.equal(judge(butFor({ AWS: [signer, root] })), 'allow');
      assert.equal(judge(butFor({ AWS: [signer] })), 'deny');
      assert.equal(judge(butFor({ AWS: [signer, root] }), other), 'deny');
      assert.equal(judge(butFor({ AWS: [signer, root] }), session), 'deny');
      assert.equal(judge(butFor({ AWS: [signer, root, session] }), session), 'allow');
    });
  });

  describe('conditions', () => {
    const digest: RequestContext = { 'kms:messagetype': 'DIGEST', 'kms:signingalgorithm': 'ECDSA_SHA_256' };
    const raw: RequestContext = { ...digest, 'kms:messagetype': 'RAW' };
    const under = (Condition: object, context: RequestContext): boolean =>
      judge(allow({ Condition }), signer, 'kms:Sign', context) === 'allow';

    const cases: [string, object, RequestContext, boolean][] = [
      ['StringEquals', { StringEquals: { 'kms:MessageType': 'DIGEST' } }, digest, true],
      ['StringEquals', { StringEquals: { 'kms:MessageType': 'DIGEST' } }, raw, false],
      ['StringEquals, key in other case', { StringEquals: { 'KMS:messagetype': 'DIGEST' } }, digest, true],
      ['StringEquals, value in other case', { StringEquals: { 'kms:MessageType': 'digest' } }, digest, false],
      ['StringEquals is no pattern', { StringEquals: { 'kms:MessageType': 'DIG*' } }, digest, false],
      ['StringEquals, any of several', { StringEquals: { 'kms:MessageType': ['RAW', 'DIGEST'] } }, digest, true],
      ['StringEquals, key missing', { StringEquals: { 'kms:MessageType': 'DIGEST' } }, {}, false],
      ['StringEqualsIfExists, key missing', { StringEqualsIfExists: { 'kms:MessageType': 'DIGEST' } }, {}, true],
      ['StringEqualsIfExists, key there', { StringEqualsIfExists: { 'kms:MessageType': 'DIGEST' } }, raw, false],
      ['StringNotEquals', { StringNotEquals: { 'kms:MessageType': 'DIGEST' } }, raw, true],
      ['StringNotEquals', { StringNotEquals: { 'kms:MessageType': 'DIGEST' } }, digest, false],
      ['StringNotEquals, none of several', { StringNotEquals: { 'kms:MessageType': ['RAW', 'DIGEST'] } }, raw, false],
      ['StringNotEquals, key missing', { StringNotEquals: { 'kms:MessageType': 'DIGEST' } }, {}, true],
      ['StringLike', { StringLike: { 'kms:SigningAlgorithm': 'ECDSA_*' } }, digest, true],
      ['StringNotLike', { StringNotLike: { 'kms:SigningAlgorithm': 'ECDSA_*' } }, digest, false],
      ['ArnEquals', { ArnEquals: { 'aws:PrincipalArn': signer } }, {}, true],
      ['ArnLike', { ArnLike: { 'aws:PrincipalArn': 'arn:aws:iam::111122223333:role/sig*' } }, {}, true],
      ['ArnLike, other account', { ArnLike: { 'aws:PrincipalArn': 'arn:aws:iam::444455556666:role/*' } }, {}, false],
      ['ArnNotLike', { ArnNotLike: { 'aws:PrincipalArn': 'arn:aws:iam::*:role/sig*' } }, {}, false],
      ['Null, missing', { Null: { 'kms:MessageType': 'true' } }, {}, true],
      ['Null, there', { Null: { 'kms:MessageType': 'true' } }, digest, false],
      ['Null false, there', { Null: { 'kms:MessageType': false } }, digest, true],
      [
        'Bool',
        { Bool: { 'kms:BypassPolicyLockoutSafetyCheck': 'true' } },
        { 'kms:bypasspolicylockoutsafetycheck': 'true' },
        true,
      ],
      [
        'Bool',
        { Bool: { 'kms:BypassPolicyLockoutSafetyCheck': true } },
        { 'kms:bypasspolicylockoutsafetycheck': 'false' },
        false,
      ],
      [
        'two keys, one wrong',
        { StringEquals: { 'kms:MessageType': 'DIGEST', 'kms:SigningAlgorithm': 'ECDSA_SHA_384' } },
        digest,
        false,
      ],
      [
        'two operators, one wrong',
        { StringEquals: { 'kms:MessageType': 'DIGEST' }, Null: { 'kms:SigningAlgorithm': 'true' } },
        digest,
        false,
      ],
    ];
    for (const [what, condition, context, holds] of cases) {
      it(`${what}: ${JSON.stringify(condition)} ${holds ? 'holds' : 'fails'} for ${JSON.stringify(context)}`, () => {
        assert.equal(under(condition, context), holds);
      });
    }
  });
});
