/**
 * What KIFF's clients may ask a KIFF cloud and this one does not do: it keeps records and decides nothing. Each address
 * answers with a sentence that its client shows, and the question for a decision with one that withholds.
 */
import { z } from 'zod';
import { operation, reply, type Access, type Method, type Operation } from '../http/operation.ts';
import { Problem, problemShape } from '../http/problems.ts';

const TAG = 'Clients of KIFF';

const DECIDES =
  'Whether an action may run is decided by a KIFF runtime; this service keeps its records and decides nothing.';
const DOMAINS = 'Domains belong to a KIFF runtime; this service keeps its records and holds none.';
const SIGN_IN = 'There is no sign-in for devices here; set KIFF_TOKEN to an API key.';

/**
 * The guard SDKs read `outcome` whatever the status is. Only `allowed` lets a tool run, so any other word withholds, and so
 * does none at all; `invalid` is the one that every version knows, and with it they show `message` as the reason.
 */
const WITHHELD = { outcome: 'invalid', reasons: ['not_offered'], message: DECIDES, proposal_id: '' };

const withheld = problemShape(['not-offered']).extend({
  outcome: z.literal('invalid').describe('Never allowed: a guard withholds the action'),
  reasons: z.array(z.string()),
  message: z.string(),
  proposal_id: z.string(),
});

function notOffered(id: string, method: Method, path: string, access: Access, detail: string): Operation {
  const params = path.includes('{') ? { params: z.object({ domain: z.string() }), examples: EXAMPLE } : {};
  return operation({
    id,
    method,
    path,
    tag: TAG,
    summary: `Not offered. ${detail}`,
    access,
    ...params,
    answers: {
      501: { description: 'Not offered.', type: 'application/problem+json', schema: problemShape(['not-offered']) },
    },
    handle: () => Promise.reject(new Problem('not-offered', detail)),
  });
}

const EXAMPLE = { params: { domain: 'refunds' } };

/** Anybody of the tenant may hear it. */
const SELF = { right: 'know-self' } as const;

export function notOfferedOperations(): Operation[] {
  return [
    operation({
      id: 'decideProposal',
      method: 'post',
      path: '/v1/proposals/decide',
      tag: TAG,
      summary: 'Not offered: whether an action may run is decided by a KIFF runtime. The answer withholds.',
      access: SELF,
      answers: { 501: { description: 'Withheld.', type: 'application/problem+json', schema: withheld } },
      handle: () => Promise.reject(new Problem('not-offered', DECIDES, { extensions: WITHHELD })),
    }),
    operation({
      id: 'listDomains',
      method: 'get',
      path: '/v1/me/domains',
      tag: TAG,
      summary: 'No domains: they belong to a KIFF runtime.',
      access: SELF,
      answers: { 200: { description: 'None.', schema: z.object({ domains: z.array(z.never()) }) } },
      handle: async () => reply(200, { domains: [] }),
    }),
    notOffered('createDomain', 'post', '/v1/me/domains', SELF, DOMAINS),
    notOffered('getDomain', 'get', '/v1/me/domains/{domain}', SELF, DOMAINS),
    notOffered('updateDomain', 'put', '/v1/me/domains/{domain}', SELF, DOMAINS),
    notOffered('getDomainUsage', 'get', '/v1/me/domains/{domain}/usage', SELF, DOMAINS),
    notOffered('saveDomainDraft', 'put', '/v1/me/domain/draft', SELF, DOMAINS),
    notOffered('startDeviceSignIn', 'post', '/v1/auth/device/start', null, SIGN_IN),
    notOffered('getDeviceToken', 'post', '/v1/auth/device/token', null, SIGN_IN),
    notOffered('endDeviceSession', 'post', '/v1/auth/device/logout', null, SIGN_IN),
  ];
}
