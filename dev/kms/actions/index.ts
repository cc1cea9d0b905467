import type { Action } from './action.ts';
import { CreateAlias, DeleteAlias, ListAliases, UpdateAlias } from './alias.ts';
import { CreateKey } from './create-key.ts';
import { DescribeKey, GetPublicKey, ListKeys } from './describe.ts';
import { CreateGrant } from './grant.ts';
import { GetKeyPolicy, PutKeyPolicy } from './key-policy.ts';
import { CancelKeyDeletion, DisableKey, EnableKey, ScheduleKeyDeletion } from './lifecycle.ts';
import { Sign } from './sign.ts';
import { ListResourceTags, TagResource } from './tags.ts';

/** Every action by the name that follows `TrentService.` in X-Amz-Target. */
export const actions: ReadonlyMap<string, Action> = new Map(
  Object.entries({
    CancelKeyDeletion,
    CreateAlias,
    CreateGrant,
    CreateKey,
    DeleteAlias,
    DescribeKey,
    DisableKey,
    EnableKey,
    GetKeyPolicy,
    GetPublicKey,
    ListAliases,
    ListKeys,
    ListResourceTags,
    PutKeyPolicy,
    ScheduleKeyDeletion,
    Sign,
    TagResource,
    UpdateAlias,
  }),
);
