import { z } from 'zod';
import { notModelled } from '../errors.ts';
import { action, authorizedKey, keyIdInput } from './action.ts';

/**
 * Grants are not modelled, but who may ask for one is: a key policy that keeps CreateGrant from the admin can be shown to do so. Whoever
 * would have got a grant is told UnsupportedOperationException.
 */
export const CreateGrant = action(z.looseObject({ KeyId: keyIdInput }), (input, call) => {
  authorizedKey(call, input.KeyId, 'CreateGrant', { crossAccount: true });
  throw notModelled('CreateGrant');
});
