/** /v1/signer/requests: what a tenant's own signer fetches and answers (design section 7). It calls us; we never call it. */
import { setTimeout as delay } from 'node:timers/promises';
import { z } from 'zod';
import type { Hex } from '../../protocol/hex.ts';
import { recoverSigner, SignatureError } from '../../protocol/signature.ts';
import { operation, reply, type Operation } from '../http/operation.ts';
import { Problem } from '../http/problems.ts';
import { count, hex, wholeNumber } from '../http/shapes.ts';
import type { TenantPools } from '../http/tenant-pools.ts';
import type { LogIdentities } from './log-identity.ts';
import { leaveAnswer, noteSignerSeen, readOpenRequests, readRequest, type OpenRequest } from './signer-requests.ts';

/** Requests in one answer: more than a week of hours. */
const MOST = 200;
/** Milliseconds between two looks while somebody waits. */
const LOOK = 500;
/** Seconds: below what proxies close a silent connection after. */
const LONGEST_WAIT = 25;

const MAX_BODY_BYTES = 8 * 1024;

const requestId = z.string().regex(/^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/, 'must be the id of a request');

const requestShape = z
  .looseObject({
    id: requestId,
    kind: z.enum(['seal', 'shadow', 'proof', 'handover', 'accept', 'cancel']),
    logId: hex(32),
    registry: z.object({ chainId: count, contract: hex(20) }),
    signer: hex(20).describe('Whose signature is asked for'),
    typedData: z.looseObject({}).describe('As eth_signTypedData_v4 takes it (EIP-712)'),
    digest: hex(32).describe('Of it: to be compared with one that the signer computes itself'),
    createdAt: count.describe('Unix seconds'),
    lastAnswerRefused: z.string().optional().describe('Why the last answer was not taken, a fixed word'),
    seal: z
      .object({ epoch: count, seq: count, period: count, treeSize: count, root: hex(32), prev: hex(32) })
      .optional()
      .describe('Of seal and shadow: the statement'),
    previous: z
      .object({ treeSize: count, root: hex(32), sealHash: hex(32) })
      .nullable()
      .optional()
      .describe('Of seal and shadow: the seal before it, as we see it'),
    message: z.looseObject({}).optional().describe('Of the other kinds: the statement'),
    standing: z
      .object({ seq: count, period: count, treeSize: count, root: hex(32), prev: hex(32) })
      .nullable()
      .optional()
      .describe('Of accept: the last seal before it'),
  })
  .meta({ id: 'SignerRequest' });

const answerShape = z
  .union([
    z.strictObject({ signature: z.string().max(1024).describe('65 bytes r‖s‖v, low s, v 27 or 28') }),
    z.strictObject({ refused: z.string().min(1).max(500).describe('Why the signer does not sign, for people') }),
  ])
  .meta({ id: 'SignerAnswer' });

interface SignerDependencies {
  pools: TenantPools;
  logIdentity: LogIdentities;
  /** True once nobody should be kept waiting. */
  isDraining: () => boolean;
  /** Unix milliseconds. */
  now: () => number;
}

export function signerOperations({ pools, logIdentity, isDraining, now }: SignerDependencies): Operation[] {
  return [
    operation({
      id: 'listSignerRequests',
      method: 'get',
      path: '/v1/signer/requests',
      tag: 'Signer',
      summary: 'What the tenant’s own signer is to sign.',
      description:
        'At most 200, the oldest first, seals in the order of their seq. A signer that signs for what it has not verified itself would be ours: docs/custody-tenant-agent.md says what it checks. For seals the operator’s checkpoint of the same tree is published before.',
      access: { right: 'answer-requests' },
      query: z.object({
        wait: wholeNumber(0)
          .refine((seconds) => seconds <= LONGEST_WAIT, `must be ${LONGEST_WAIT} at most`)
          .default(0)
          .describe('Seconds to wait for something to sign'),
      }),
      answers: {
        200: {
          description: 'Perhaps nothing.',
          schema: z.object({ origin: z.string(), requests: z.array(requestShape) }).meta({ id: 'SignerRequests' }),
        },
      },
      async handle({ caller, query: { wait }, response }) {
        const until = now() + wait * 1000;
        const { origin } = await pools.use(caller, (db) => logIdentity.one(db, caller.tenant, undefined));
        for (;;) {
          // A connection is held for each look and not for the wait: there may be more signers than connections.
          const open = await pools.use(caller, async (db) => {
            await noteSignerSeen(db);
            return readOpenRequests(db, MOST);
          });
          if (open.length > 0 || now() >= until || isDraining() || response.destroyed) {
            return reply(200, { origin, requests: open.map(viewOf) });
          }
          await delay(Math.min(LOOK, Math.max(0, until - now())));
        }
      },
    }),

    operation({
      id: 'answerSignerRequest',
      method: 'post',
      path: '/v1/signer/requests/{id}',
      tag: 'Signer',
      summary: 'Answer one request: a signature, or why there is none.',
      description:
        'The signature is verified here for the signer’s sake, and by the signing plane before anything else happens. One that was given stands; the same once more is no error.',
      access: { right: 'answer-requests' },
      params: z.object({ id: requestId }),
      body: { schema: answerShape, maxBytes: MAX_BODY_BYTES },
      answers: { 204: { description: 'It is taken.' } },
      problems: ['not-found', 'request-closed', 'custody-conflict', 'custody-refused'],
      examples: {
        params: { id: '00000000-0000-4000-8000-000000000000' },
        bodies: [
          {
            summary: 'It is not signed',
            type: 'application/json',
            value: { refused: 'not-an-extension: the tree does not extend the last one that was signed' },
          },
        ],
      },
      async handle({ caller, params: { id }, body }) {
        await pools.use(caller, async (db) => {
          const asked = await readRequest(db, id);
          if (asked === undefined) throw new Problem('not-found', 'There is no request with this id.');
          const { signature } = 'signature' in body ? body : {};
          if (signature !== undefined && asked.signature === signature) return;
          if (asked.signature !== null) {
            throw new Problem('custody-conflict', 'Another answer was given to this request, and it stands.', {
              extensions: { reason: 'answered-otherwise' },
            });
          }
          if (!asked.live) throw new Problem('request-closed', 'This request is closed: nobody waits for it any more.');
          if (signature !== undefined) requireSignature(asked.digest, signature, asked.signer);
          await leaveAnswer(db, id, 'refused' in body ? { declined: body.refused } : body);
        });
        return reply(204, undefined);
      },
    }),
  ];
}

function viewOf({ id, kind, request, createdAt, refused }: OpenRequest): z.input<typeof requestShape> {
  return {
    ...request,
    id,
    kind,
    createdAt: Math.floor(createdAt.getTime() / 1000),
    ...(refused !== null && { lastAnswerRefused: refused }),
  } as z.input<typeof requestShape>;
}

/** @throws Problem custody-refused, whose reason says what is wrong with it (faults C8, B18, B19) */
function requireSignature(digest: Hex, signature: string, signer: Hex): void {
  let recovered: Hex;
  try {
    recovered = recoverSigner(digest, signature);
  } catch (error) {
    if (!(error instanceof SignatureError)) throw error;
    throw refused('bad-signature', `The signature is refused: ${error.message}.`);
  }
  if (recovered !== signer) throw refused('wrong-signer', 'The signature is of another key, or of another statement.');
}

const refused = (reason: string, detail: string): Problem =>
  new Problem('custody-refused', detail, { extensions: { reason } });
