/** /v1/custody/passkeys: what admins approve with. Registered beforehand, under two fresh factors; young ones do not count yet. */
import { createHash } from 'node:crypto';
import { z } from 'zod';
import { PASSKEY_ALGORITHMS } from '../../protocol/passkey.ts';
import { bearerOf } from '../access/bearer.ts';
import { operation, reply, type Operation } from '../http/operation.ts';
import { Problem } from '../http/problems.ts';
import { dateTime } from '../http/shapes.ts';
import type { TenantPools } from '../http/tenant-pools.ts';
import { personOf } from './authenticate.ts';
import type { Challenges } from './challenge.ts';
import { left, LEFT } from './commands-routes.ts';
import { leaveEvidence } from './evidence.ts';
import { credentialOf, readPasskeys, type Passkey, type RelyingParty } from './passkeys.ts';
import { conflict, refused } from './refusals.ts';
import { CEREMONY_MILLISECONDS, creationOptionsShape, credentialId, registrationShape } from './webauthn-shapes.ts';

const MAX_BODY_BYTES = 8 * 1024;

const passkeyView = z
  .object({
    id: z.string().describe('The credential’s id, base64url'),
    user: z.string(),
    registeredAt: dateTime,
    countsFrom: dateTime.describe('Approvals with it count from then on'),
    state: z
      .enum(['pending', 'started', 'done'])
      .describe('done: the signing plane has verified how it was registered'),
  })
  .meta({ id: 'Passkey' });

export interface PasskeysDependencies {
  pools: TenantPools;
  party: RelyingParty;
  challenges: Challenges;
  minAgeSeconds: number;
}

export function passkeysOperations({ pools, party, challenges, minAgeSeconds }: PasskeysDependencies): Operation[] {
  const viewOf = ({ id, userId, registeredAt, state }: Passkey): z.input<typeof passkeyView> => ({
    id,
    user: userId,
    registeredAt: registeredAt.toISOString(),
    countsFrom: new Date(registeredAt.getTime() + minAgeSeconds * 1000).toISOString(),
    state: state as 'pending' | 'started' | 'done',
  });

  return [
    operation({
      id: 'listPasskeys',
      method: 'get',
      path: '/v1/custody/passkeys',
      tag: 'Passkeys',
      summary: 'The passkeys that admins have registered, and nobody has removed.',
      access: { right: 'read-custody' },
      answers: { 200: { description: 'All of them.', schema: z.object({ passkeys: z.array(passkeyView) }) } },
      async handle({ caller }) {
        const passkeys = await pools.use(caller, readPasskeys);
        return reply(200, { passkeys: passkeys.filter(({ removed }) => !removed).map(viewOf) });
      },
    }),

    operation({
      id: 'beginPasskey',
      method: 'post',
      path: '/v1/custody/passkeys/options',
      tag: 'Passkeys',
      summary: 'What navigator.credentials.create is to be called with.',
      access: { right: 'manage-custody' },
      answers: {
        200: { description: 'The options; their challenge is good for ten minutes.', schema: creationOptionsShape },
      },
      async handle({ caller }) {
        const person = personOf(caller);
        const passkeys = await pools.use(person, readPasskeys);
        const own = passkeys.filter(({ userId, removed }) => userId === person.userId && !removed);
        return reply(200, {
          rp: { id: party.id, name: 'KIFF Cloud custody' },
          user: {
            // An opaque handle (WebAuthn section 14.6.1): the same for the same person, and it says nothing of them.
            id: createHash('sha256').update(`kiff custody user\n${person.userId}`).digest('base64url'),
            name: person.userId,
            displayName: person.userId,
          },
          challenge: challenges.make(person),
          pubKeyCredParams: PASSKEY_ALGORITHMS.map((alg) => ({ type: 'public-key' as const, alg })),
          timeout: CEREMONY_MILLISECONDS,
          attestation: 'none' as const,
          excludeCredentials: own.map(({ id }) => ({ id, type: 'public-key' as const })),
          authenticatorSelection: { residentKey: 'preferred' as const, userVerification: 'required' as const },
        });
      },
    }),

    operation({
      id: 'registerPasskey',
      method: 'post',
      path: '/v1/custody/passkeys',
      tag: 'Passkeys',
      summary: 'Register a passkey.',
      access: { right: 'manage-custody' },
      body: {
        schema: z
          .strictObject({ challenge: z.string().max(200), registration: registrationShape })
          .meta({ id: 'NewPasskey' }),
        maxBytes: MAX_BODY_BYTES,
      },
      answers: { 202: LEFT },
      problems: ['custody-refused', 'custody-conflict'],
      async handle({ caller, body: { challenge, registration }, request }) {
        const person = personOf(caller);
        if (!challenges.isGood(challenge, person)) {
          throw refused('bad-challenge', 'This challenge was not made for you, or has ended; begin again.');
        }
        if ((await credentialOf({ registration, challenge }, party)) === undefined) {
          throw refused(
            'bad-registration',
            'The authenticator’s answer is not good: challenge, origin, algorithm or user verification.',
          );
        }
        return left(
          await pools.use(person, async (db) => {
            const known = await readPasskeys(db);
            if (known.some(({ id }) => id === registration.id)) {
              throw conflict('known-passkey', 'This passkey is registered already.');
            }
            const token = bearerOf(request.get('authorization'));
            return leaveEvidence(db, 'custody.passkey', { token, registration, challenge });
          }),
        );
      },
    }),

    operation({
      id: 'removePasskey',
      method: 'delete',
      path: '/v1/custody/passkeys/{passkey}',
      tag: 'Passkeys',
      summary: 'Remove a passkey: your own, or another admin’s.',
      description:
        'It never counts again, also in approvals that were given with it. A migration that is left with fewer than two approvals is undone at its next gate, unless the new key has accepted.',
      access: { right: 'manage-custody' },
      params: z.object({ passkey: credentialId }),
      answers: { 202: LEFT },
      problems: ['not-found'],
      async handle({ caller, params: { passkey }, request }) {
        return left(
          await pools.use(caller, async (db) => {
            const known = (await readPasskeys(db)).find(({ id }) => id === passkey);
            if (known === undefined || known.removed) throw new Problem('not-found', 'There is no such passkey.');
            return leaveEvidence(db, 'custody.passkey.remove', {
              token: bearerOf(request.get('authorization')),
              passkey,
            });
          }),
        );
      },
    }),
  ];
}
