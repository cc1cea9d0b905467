import { z } from 'zod';
import { KmsError } from '../errors.ts';
import { keyArn } from '../store.ts';
import { action, authorizedKey, keyIdInput, requireNotPendingDeletion } from './action.ts';
import { seconds } from './metadata.ts';

const byKeyId = z.strictObject({ KeyId: keyIdInput });
const dayMs = 86_400_000;

function setEnabled(name: 'EnableKey' | 'DisableKey', state: 'Enabled' | 'Disabled') {
  return action(byKeyId, (input, call) => {
    const key = authorizedKey(call, input.KeyId, name);
    requireNotPendingDeletion(key);
    key.state = state;
    call.store.save();
    return {};
  });
}

export const EnableKey = setEnabled('EnableKey', 'Enabled');
export const DisableKey = setEnabled('DisableKey', 'Disabled');

const scheduleInput = z.strictObject({ KeyId: keyIdInput, PendingWindowInDays: z.int().min(7).max(30).default(30) });

export const ScheduleKeyDeletion = action(scheduleInput, (input, call) => {
  const key = authorizedKey(call, input.KeyId, 'ScheduleKeyDeletion');
  requireNotPendingDeletion(key);
  const deletionAt = call.now + input.PendingWindowInDays * dayMs;
  key.state = 'PendingDeletion';
  key.deletionAt = deletionAt;
  call.store.save();
  return {
    KeyId: keyArn(key),
    DeletionDate: seconds(deletionAt),
    KeyState: key.state,
    PendingWindowInDays: input.PendingWindowInDays,
  };
});

/** Afterwards the key is Disabled, not Enabled (API reference, CancelKeyDeletion). */
export const CancelKeyDeletion = action(byKeyId, (input, call) => {
  const key = authorizedKey(call, input.KeyId, 'CancelKeyDeletion');
  if (key.state !== 'PendingDeletion') {
    throw new KmsError('KMSInvalidStateException', `${keyArn(key)} is not pending deletion.`);
  }
  key.state = 'Disabled';
  key.deletionAt = null;
  call.store.save();
  return { KeyId: keyArn(key) };
});
