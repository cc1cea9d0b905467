/**
 * What people do to a migration that is under way. Each is judged here for the caller's sake and left as evidence;
 * what it comes to, the signing plane decides (evidence.ts).
 */
import { z } from 'zod';
import type { Registry } from '../../protocol/eip712.ts';
import type { Hex } from '../../protocol/hex.ts';
import type { UserCaller } from '../access/caller.ts';
import { bearerOf } from '../access/bearer.ts';
import { operation, reply, type Operation } from '../http/operation.ts';
import { Problem } from '../http/problems.ts';
import type { Queryable, TenantPools } from '../http/tenant-pools.ts';
import { personOf } from './authenticate.ts';
import { left, LEFT } from './commands-routes.ts';
import { leaveEvidence, ownOf, readCommands, stands } from './evidence.ts';
import { ofMigration } from './migrations-routes.ts';
import { approvalOf, readHandovers, readMigration, type HandoverRecord, type Migration } from './migrations.ts';
import { isApproved, readPasskeys, type Passkey, type RelyingParty } from './passkeys.ts';
import { conflict, refused } from './refusals.ts';
import { assertionShape, CEREMONY_MILLISECONDS, requestOptionsShape } from './webauthn-shapes.ts';

const MAX_BODY_BYTES = 8 * 1024;

const PROBLEMS = ['not-found', 'custody-refused', 'custody-conflict'] as const;

export interface ActsDependencies {
  pools: TenantPools;
  registry: Registry;
  party: RelyingParty;
  passkeyMinAgeSeconds: number;
  /** Unix milliseconds. */
  now: () => number;
}

/** @throws Problem not-found, custody-conflict */
async function activeMigration(db: Queryable, id: string): Promise<Migration> {
  const migration = await readMigration(db, id);
  if (migration === undefined) throw new Problem('not-found', 'There is no migration with this id.');
  if (migration.endedAt !== null) throw conflict('ended', 'This migration has ended.');
  if (migration.givenUp !== null) throw conflict('undoing', 'This migration is being undone.');
  return migration;
}

function withSigner(migration: Migration): Migration & { newSigner: Hex } {
  const { newSigner } = migration;
  if (newSigner === null)
    throw conflict('not-identified', 'The new key has not been looked at yet; try again in a moment.');
  return { ...migration, newSigner };
}

async function handoverOf(db: Queryable, { id, logId }: Migration): Promise<HandoverRecord | undefined> {
  return (await readHandovers(db, logId)).findLast(({ migration }) => migration === id);
}

export function actsOperations({ pools, registry, party, passkeyMinAgeSeconds, now }: ActsDependencies): Operation[] {
  /** What this person may approve a migration with now. */
  async function usable(db: Queryable, person: UserCaller): Promise<Passkey[]> {
    const own = (await readPasskeys(db)).filter(({ userId, removed }) => userId === person.userId && !removed);
    if (own.length === 0)
      throw conflict('no-passkey', 'You have no passkey here; register one, a day before it is needed.');
    const old = own.filter(({ registeredAt }) => registeredAt.getTime() + passkeyMinAgeSeconds * 1000 <= now());
    if (old.length > 0) return old;
    const first = Math.min(...own.map(({ registeredAt }) => registeredAt.getTime())) + passkeyMinAgeSeconds * 1000;
    throw conflict('passkey-too-young', `Your passkey counts from ${new Date(first).toISOString()} on.`);
  }

  async function approvable(db: Queryable, person: UserCaller, id: string) {
    const migration = withSigner(await activeMigration(db, id));
    if (migration.approvalsExpireAt <= now() / 1000) throw refused('expired', 'The time for approvals is over.');
    const given = (await readCommands(db, ['custody.approve'])).filter(ownOf(person)).filter(stands);
    if (given.some(({ payload }) => payload['migration'] === id)) {
      throw conflict('approved-already', 'You have approved already; another admin has to.');
    }
    return { challenge: approvalOf(registry, migration).challenge, passkeys: await usable(db, person) };
  }

  /** Stops a migration. */
  function stop(path: 'veto' | 'cancel', summary: string, right: 'veto-custody' | 'manage-custody'): Operation {
    return operation({
      id: { veto: 'vetoMigration', cancel: 'cancelMigration' }[path],
      method: 'post',
      path: `/v1/custody/migrations/{id}/${path}`,
      tag: 'Migrations',
      summary,
      description:
        'Good until the new key has signed its acceptance. A handover that is signed already is cancelled on chain, which takes a while.',
      access: { right },
      params: ofMigration,
      answers: { 202: LEFT },
      problems: PROBLEMS,
      async handle({ caller, params: { id }, request }) {
        return left(
          await pools.use(caller, async (db) => {
            const migration = await activeMigration(db, id);
            if (((await handoverOf(db, migration))?.accept ?? null) !== null) {
              throw conflict(
                'too-late',
                'The new key has accepted: it only goes forward. The way back is a new migration.',
              );
            }
            const token = bearerOf(request.get('authorization'));
            return leaveEvidence(db, `custody.${path}`, { token, migration: id });
          }),
        );
      },
    });
  }

  return [
    operation({
      id: 'beginApproval',
      method: 'post',
      path: '/v1/custody/migrations/{id}/approve/options',
      tag: 'Migrations',
      summary: 'What navigator.credentials.get is to be called with to approve.',
      access: { right: 'manage-custody' },
      params: ofMigration,
      answers: { 200: { description: 'The options, of your own passkeys.', schema: requestOptionsShape } },
      problems: PROBLEMS,
      async handle({ caller, params: { id } }) {
        const { challenge, passkeys } = await pools.use(caller, (db) => approvable(db, personOf(caller), id));
        return reply(200, {
          challenge,
          rpId: party.id,
          timeout: CEREMONY_MILLISECONDS,
          userVerification: 'required' as const,
          allowCredentials: passkeys.map(({ id: credential, registration }) => ({
            id: credential,
            type: 'public-key' as const,
            ...(registration.response.transports && { transports: registration.response.transports }),
          })),
        });
      },
    }),

    operation({
      id: 'approveMigration',
      method: 'post',
      path: '/v1/custody/migrations/{id}/approve',
      tag: 'Migrations',
      summary: 'Approve it, with a passkey.',
      description: 'The assertion’s challenge is the digest of the CustodyApproval, which names the new signer.',
      access: { right: 'manage-custody' },
      params: ofMigration,
      body: {
        schema: z.strictObject({ assertion: assertionShape }).meta({ id: 'NewApproval' }),
        maxBytes: MAX_BODY_BYTES,
      },
      answers: { 202: LEFT },
      problems: PROBLEMS,
      async handle({ caller, params: { id }, body: { assertion }, request }) {
        const person = personOf(caller);
        return left(
          await pools.use(person, async (db) => {
            const { challenge, passkeys } = await approvable(db, person, id);
            const passkey = passkeys.find((candidate) => candidate.id === assertion.id);
            if (passkey === undefined) throw refused('unknown-passkey', 'This is no passkey of yours that counts.');
            if (!(await isApproved(passkey, assertion, challenge, party))) {
              throw refused(
                'bad-assertion',
                'The passkey’s answer is not good: challenge, origin, signature or user verification.',
              );
            }
            const token = bearerOf(request.get('authorization'));
            return leaveEvidence(db, 'custody.approve', { token, migration: id, assertion });
          }),
        );
      },
    }),

    stop('veto', 'Stop it. Any admin may, without a second factor.', 'veto-custody'),
    stop('cancel', 'Take it back.', 'manage-custody'),
  ];
}
