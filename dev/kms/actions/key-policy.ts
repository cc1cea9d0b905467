import { z } from 'zod';
import { canStillPutKeyPolicy } from '../authorize.ts';
import { KmsError, malformedPolicy, notFound } from '../errors.ts';
import { parseKeyPolicy } from '../policy-document.ts';
import { action, authorizedKey, keyIdInput } from './action.ts';

const maxPolicyBytes = 32_768;

/**
 * The text as it will be kept and given back. Like KMS, this does not keep the caller's white space: whoever compares policies has to
 * compare what they say. Throws MalformedPolicyDocumentException or LimitExceededException.
 */
export function storedPolicy(text: string): string {
  if (Buffer.byteLength(text) > maxPolicyBytes) {
    throw new KmsError('LimitExceededException', `A key policy has at most ${maxPolicyBytes} bytes.`);
  }
  parseKeyPolicy(text);
  return JSON.stringify(JSON.parse(text), null, 2);
}

function requireDefault(policyName: string): void {
  if (policyName !== 'default') throw notFound('No such policy exists');
}

const policyName = z
  .string()
  .regex(/^\w{1,128}$/)
  .default('default');

export const GetKeyPolicy = action(z.strictObject({ KeyId: keyIdInput, PolicyName: policyName }), (input, call) => {
  const key = authorizedKey(call, input.KeyId, 'GetKeyPolicy');
  requireDefault(input.PolicyName);
  return { Policy: key.policy, PolicyName: input.PolicyName };
});

const putKeyPolicyInput = z.strictObject({
  KeyId: keyIdInput,
  PolicyName: policyName,
  Policy: z.string().min(1),
  BypassPolicyLockoutSafetyCheck: z.boolean().default(false),
});

export const PutKeyPolicy = action(putKeyPolicyInput, (input, call) => {
  const bypass = input.BypassPolicyLockoutSafetyCheck;
  const context = { 'kms:bypasspolicylockoutsafetycheck': String(bypass) };
  const key = authorizedKey(call, input.KeyId, 'PutKeyPolicy', { context });
  requireDefault(input.PolicyName);
  const policy = storedPolicy(input.Policy);
  if (!bypass && !canStillPutKeyPolicy(call.caller, { ...key, policy })) {
    throw malformedPolicy('The new key policy will not allow you to update the key policy in the future.');
  }
  key.policy = policy;
  call.store.save();
  return {};
});
