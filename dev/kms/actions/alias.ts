import { z } from 'zod';
import { authorizeByIdentity, authorizeOnKey } from '../authorize.ts';
import { KmsError, notFound, validation } from '../errors.ts';
import { parseKeyReference } from '../reference.ts';
import { aliasArn, keyArn } from '../store.ts';
import type { KmsAlias, KmsKey } from '../store.ts';
import { action, authorizedKey, keyIdInput, requireNotPendingDeletion } from './action.ts';
import type { Call } from './action.ts';
import { seconds } from './metadata.ts';
import { page, pageInput } from './page.ts';

const aliasNameInput = z.string().min(1).max(256);

/** Throws ValidationException, InvalidAliasNameException, or NotAuthorizedException for AWS's own `alias/aws/`. */
function aliasArnFor(name: string, { caller, region }: Call): string {
  if (!name.startsWith('alias/')) throw validation('Alias must start with the prefix "alias/".');
  if (name.startsWith('alias/aws/')) {
    throw new KmsError('NotAuthorizedException', 'The alias prefix alias/aws/ is reserved.');
  }
  if (!/^alias\/[A-Za-z0-9/_-]+$/.test(name)) {
    throw new KmsError('InvalidAliasNameException', `Alias name ${name} has characters other than A-Z a-z 0-9 / _ -`);
  }
  return aliasArn({ name, accountId: caller.accountId, region });
}

function existingAlias(name: string, call: Call): { alias: KmsAlias; target: KmsKey; arn: string } {
  const arn = aliasArnFor(name, call);
  const alias = call.store.aliases.get(arn);
  const target = alias && call.store.keys.get(keyArn({ ...alias, keyId: alias.targetKeyId }));
  if (alias === undefined || target === undefined) throw notFound(`Alias ${arn} is not found.`);
  return { alias, target, arn };
}

function isSymmetric(key: KmsKey): boolean {
  return key.spec === 'SYMMETRIC_DEFAULT';
}

const aliasAndTarget = z.strictObject({ AliasName: aliasNameInput, TargetKeyId: keyIdInput });

// An alias action needs permission on the alias, which only IAM can give, and on each key concerned, by its policy
// (developer guide, "Controlling access to aliases").

export const CreateAlias = action(aliasAndTarget, (input, call) => {
  const { caller, region, now, store } = call;
  const arn = aliasArnFor(input.AliasName, call);
  authorizeByIdentity(caller, 'kms:CreateAlias', arn);
  const key = authorizedKey(call, input.TargetKeyId, 'CreateAlias');
  requireNotPendingDeletion(key);
  if (store.aliases.has(arn)) {
    throw new KmsError('AlreadyExistsException', `An alias with the name ${arn} already exists`);
  }
  store.aliases.set(arn, {
    name: input.AliasName,
    accountId: caller.accountId,
    region,
    targetKeyId: key.keyId,
    createdAt: now,
    updatedAt: now,
  });
  store.save();
  return {};
});

export const UpdateAlias = action(aliasAndTarget, (input, call) => {
  const { alias, target, arn } = existingAlias(input.AliasName, call);
  authorizeByIdentity(call.caller, 'kms:UpdateAlias', arn);
  authorizeOnKey(call.caller, 'kms:UpdateAlias', target);
  const next = authorizedKey(call, input.TargetKeyId, 'UpdateAlias');
  requireNotPendingDeletion(next);
  if (next.usage !== target.usage || isSymmetric(next) !== isSymmetric(target)) {
    throw validation(`Alias ${arn} cannot move to a key of another type or usage.`);
  }
  alias.targetKeyId = next.keyId;
  alias.updatedAt = call.now;
  call.store.save();
  return {};
});

export const DeleteAlias = action(z.strictObject({ AliasName: aliasNameInput }), (input, call) => {
  const { target, arn } = existingAlias(input.AliasName, call);
  authorizeByIdentity(call.caller, 'kms:DeleteAlias', arn);
  authorizeOnKey(call.caller, 'kms:DeleteAlias', target);
  call.store.aliases.delete(arn);
  call.store.save();
  return {};
});

/** All aliases of the caller's account and region, or those of one key (named by id or ARN; it need not be enabled). */
export const ListAliases = action(
  z.strictObject({ KeyId: keyIdInput.optional(), ...pageInput(100) }),
  (input, call) => {
    const { caller, region, store } = call;
    authorizeByIdentity(caller, 'kms:ListAliases');
    let only: string | undefined;
    if (input.KeyId !== undefined) {
      const reference = parseKeyReference(input.KeyId, { accountId: caller.accountId, region });
      only = store.keys.get(reference.arn)?.keyId;
      if (only === undefined || reference.accountId !== caller.accountId)
        throw notFound(`Key '${reference.arn}' does not exist`);
    }
    const own = [...store.aliases.values()].filter(
      (alias) =>
        alias.accountId === caller.accountId &&
        alias.region === region &&
        (only === undefined || alias.targetKeyId === only),
    );
    const { items, end } = page(own, (alias) => alias.name, input, 50);
    return {
      Aliases: items.map((alias) => ({
        AliasName: alias.name,
        AliasArn: aliasArn(alias),
        TargetKeyId: alias.targetKeyId,
        CreationDate: seconds(alias.createdAt),
        LastUpdatedDate: seconds(alias.updatedAt),
      })),
      ...end,
    };
  },
);
