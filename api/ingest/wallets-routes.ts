/**
 * /v1/wallets: which wallet belongs to which actor, for attribution. The owner of the wallet proves it by signing a
 * Sign-In with Ethereum message (EIP-4361) that names the actor; a signed-in member hands it in. Nobody is ever signed in
 * by a wallet here, and a link gives nobody a right (docs/decisions/2026-11-24-wallet-links.md).
 */
import { randomBytes } from 'node:crypto';
import { z } from 'zod';
import type { Hex } from '../../protocol/hex.ts';
import type { Caller, UserCaller } from '../access/caller.ts';
import { operation, reply, type Operation } from '../http/operation.ts';
import { Problem } from '../http/problems.ts';
import { dateTime, hex } from '../http/shapes.ts';
import type { TenantPools } from '../http/tenant-pools.ts';
import type { LogIdentities } from './log-identity.ts';
import type { Refusals } from './refusals.ts';
import { challengeText, proveWallet, type Subject } from './wallet-proof.ts';
import { linkWallet, listWallets, openChallenge, unlinkWallet, type WalletLink } from './wallets.ts';

const MAX_BODY_BYTES = 16 * 1024;

const actorId = z
  .string()
  .regex(/^[^\p{Cc}]{1,256}$/u, 'must be 1 to 256 characters without control characters')
  .describe('As records name the actor in actor_id');

const newChallenge = z
  .strictObject({
    actor_id: actorId,
    wallet: z
      .string()
      .regex(/^0x[0-9a-fA-F]{40}$/, 'must be 0x and 40 hex digits')
      .transform((text) => text.toLowerCase() as Hex),
  })
  .meta({ id: 'NewWalletChallenge' });

const challenge = z
  .object({
    nonce: z.string().describe('Good once, for ten minutes; asking again takes it away'),
    message: z.string().describe('The text for the wallet to sign (EIP-191), as it stands'),
    expires_at: dateTime,
  })
  .meta({ id: 'WalletChallenge' });

const newLink = z
  .strictObject({
    actor_id: actorId,
    message: z.string().max(4_096).describe('A Sign-In with Ethereum message (EIP-4361)'),
    signature: z.string().max(1_024).describe('65 bytes of hex: r, s (low), v (27 or 28)'),
  })
  .meta({ id: 'NewWalletLink' });

const walletView = z
  .object({ actor_id: z.string(), wallet: hex(20), linked_by: z.string().describe('A user’s id'), linked_at: dateTime })
  .meta({ id: 'WalletLink' });

export interface WalletsDependencies {
  pools: TenantPools;
  logIdentity: LogIdentities;
  refusals: Refusals;
  chainId: number;
  /** Unix milliseconds. */
  now: () => number;
}

export function walletsOperations(dependencies: WalletsDependencies): Operation[] {
  const { pools, logIdentity, refusals, chainId, now } = dependencies;

  /** What a message must be about when this person hands it in for this actor. */
  async function subjectOf(caller: UserCaller, actor: string): Promise<Subject> {
    const { origin } = await pools.use(caller, (pool) => logIdentity.one(pool, caller.tenant, undefined));
    return { party: caller.party, chainId, origin, actor };
  }

  return [
    operation({
      id: 'listWallets',
      method: 'get',
      path: '/v1/wallets',
      tag: 'Wallets',
      summary: 'The wallets that are linked to actors.',
      access: { right: 'list-wallets' },
      answers: {
        200: {
          description: 'All of them; there are 5,000 at most.',
          schema: z.object({ wallets: z.array(walletView) }),
        },
      },
      async handle({ caller }) {
        const links = await pools.use(caller, (pool) => listWallets(pool, caller.tenant));
        return reply(200, { wallets: links.map(viewOf) });
      },
    }),

    operation({
      id: 'openWalletChallenge',
      method: 'post',
      path: '/v1/wallet-challenges',
      tag: 'Wallets',
      summary: 'Get the text that a wallet is to sign.',
      description:
        'For the actor with your own user id; for any other actor this needs the permission org:keys:manage. The text names the log, the actor and the wallet.',
      access: { right: 'link-wallet' },
      body: { schema: newChallenge, maxBytes: MAX_BODY_BYTES },
      answers: { 201: { description: 'The text, and until when its signature is taken.', schema: challenge } },
      examples: {
        bodies: [
          {
            summary: 'For an agent',
            type: 'application/json',
            value: { actor_id: 'support-agent', wallet: '0xC02aaA39b223FE8D0A0e5C4F27eAD9083C756Cc2' },
          },
        ],
      },
      async handle({ caller, body: { actor_id: actor, wallet } }) {
        const person = personFor(caller, actor);
        const nonce = randomBytes(16).toString('hex');
        const subject = await subjectOf(person, actor);
        const terms = { nonce, actor, by: person.userId };
        const until = await pools.use(person, (pool) => openChallenge(pool, person.tenant, terms));
        const message = challengeText(subject, { wallet, nonce, issuedAt: now(), expiresAt: until.getTime() });
        return reply(201, { nonce, message, expires_at: until.toISOString() });
      },
    }),

    operation({
      id: 'linkWallet',
      method: 'post',
      path: '/v1/wallets',
      tag: 'Wallets',
      summary: 'Link a wallet to an actor, with its signature.',
      description:
        'From then on the attribution of that actor’s records is {"wallet":"0x…"}. It takes the place of an earlier link of the actor. A link gives nobody a right. Signatures of contracts (ERC-1271) are not taken.',
      access: { right: 'link-wallet' },
      body: { schema: newLink, maxBytes: MAX_BODY_BYTES },
      answers: { 201: { description: 'The wallet is linked.', schema: walletView } },
      problems: ['invalid-wallet-proof', 'too-many-links'],
      examples: {
        bodies: [
          {
            summary: 'For an agent',
            type: 'application/json',
            value: {
              actor_id: 'support-agent',
              message: 'app.kiff.dev wants you to sign in with your Ethereum account: …',
              signature: '0x…',
            },
          },
        ],
      },
      async handle({ caller, body: { actor_id: actor, message, signature } }) {
        const person = personFor(caller, actor);
        const { wallet, nonce } = proveWallet({ message, signature }, await subjectOf(person, actor), now());
        const by = person.userId;
        const link = { nonce, actor, wallet, by };
        const linkedAt = await pools.use(person, (pool) => linkWallet(pool, person.tenant, link));
        if (linkedAt === null) {
          throw new Problem('invalid-wallet-proof', 'This challenge is unknown, used, expired or of somebody else.');
        }
        return reply(201, viewOf({ actor, wallet, linkedBy: by, linkedAt }));
      },
    }),

    operation({
      id: 'unlinkWallet',
      method: 'delete',
      path: '/v1/wallets/{actor}',
      tag: 'Wallets',
      summary: 'Take an actor’s wallet link away.',
      description: 'Bodies that were made while it stood keep it.',
      access: { right: 'link-wallet' },
      params: z.object({ actor: actorId }),
      answers: {
        200: {
          description: 'The actor has no wallet any more.',
          schema: z.object({ actor_id: z.string(), wallet: z.null() }).meta({ id: 'UnlinkedWallet' }),
        },
      },
      problems: ['not-found'],
      examples: { params: { actor: 'support-agent' } },
      async handle({ caller, params: { actor } }) {
        const person = personFor(caller, actor);
        const removed = await pools.use(person, (pool) => unlinkWallet(pool, person.tenant, actor, person.userId));
        if (!removed) throw await refusals.notFound(person, 'wallet', actor);
        return reply(200, { actor_id: actor, wallet: null });
      },
    }),
  ];
}

/** A person speaks for the actor that has its own id; for the tenant's agents, whoever manages their keys. */
function personFor(caller: Caller, actor: string): UserCaller {
  if (caller.userId === undefined) throw new Error('no key has the right to link wallets');
  if (actor === caller.userId || caller.managesKeys) return caller;
  throw new Problem(
    'missing-permission',
    'For another actor than yourself this needs the permission "org:keys:manage".',
  );
}

function viewOf({ actor, wallet, linkedBy, linkedAt }: WalletLink): z.input<typeof walletView> {
  return { actor_id: actor, wallet, linked_by: linkedBy, linked_at: linkedAt.toISOString() };
}
