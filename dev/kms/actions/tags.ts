import { z } from 'zod';
import { KmsError } from '../errors.ts';
import { action, authorizedKey, keyIdInput, requireNotPendingDeletion } from './action.ts';
import { page, pageInput } from './page.ts';

const maxTags = 50;

export const tagsInput = z.array(z.strictObject({ TagKey: z.string().min(1).max(128), TagValue: z.string().max(256) }));

/** Tags after adding some: an existing one changes its value. Throws TagException or LimitExceededException. */
export function mergeTags(
  present: Readonly<Record<string, string>>,
  added: z.output<typeof tagsInput>,
): Record<string, string> {
  if (added.some(({ TagKey }) => TagKey.toLowerCase().startsWith('aws:'))) {
    throw new KmsError('TagException', 'A tag key cannot begin with aws:');
  }
  if (new Set(added.map(({ TagKey }) => TagKey)).size < added.length)
    throw new KmsError('TagException', 'Duplicate tag keys');
  const tags = Object.fromEntries([
    ...Object.entries(present),
    ...added.map(({ TagKey, TagValue }) => [TagKey, TagValue]),
  ]);
  if (Object.keys(tags).length > maxTags)
    throw new KmsError('LimitExceededException', `A key has at most ${maxTags} tags.`);
  return tags;
}

export const TagResource = action(z.strictObject({ KeyId: keyIdInput, Tags: tagsInput }), (input, call) => {
  const key = authorizedKey(call, input.KeyId, 'TagResource');
  requireNotPendingDeletion(key);
  key.tags = mergeTags(key.tags, input.Tags);
  call.store.save();
  return {};
});

export const ListResourceTags = action(z.strictObject({ KeyId: keyIdInput, ...pageInput(50) }), (input, call) => {
  const key = authorizedKey(call, input.KeyId, 'ListResourceTags');
  const { items, end } = page(Object.entries(key.tags), ([name]) => name, input, 50);
  return { Tags: items.map(([TagKey, TagValue]) => ({ TagKey, TagValue })), ...end };
});
