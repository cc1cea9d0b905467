/** /v1/me: who the caller is, in the words that KIFF's clients read. */
import { z } from 'zod';
import { operation, reply, type Operation } from '../http/operation.ts';

const me = z
  .object({
    subject: z.string().describe('The API key’s id, or the person’s'),
    tenant_id: z.string(),
    tenant_slug: z.string().describe('The same: a tenant has one name'),
  })
  .meta({ id: 'Me' });

export function meOperations(): Operation[] {
  return [
    operation({
      id: 'getMe',
      method: 'get',
      path: '/v1/me',
      tag: 'Clients of KIFF',
      summary: 'Who asks.',
      access: { right: 'know-self' },
      answers: { 200: { description: 'You.', schema: me } },
      handle: async ({ caller: { by, tenant } }) => reply(200, { subject: by, tenant_id: tenant, tenant_slug: tenant }),
    }),
  ];
}
