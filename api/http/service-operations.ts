/** What every HTTP process of ours says about itself: whether it lives, whether it can serve, and what it offers. */
import { z } from 'zod';
import { DOCS_POLICY, docsPage } from './docs-page.ts';
import { openApiDocument, type ApiInfo } from './openapi.ts';
import { operation, reply, replyBytes, type Operation } from './operation.ts';
import { Problem, unavailable } from './problems.ts';

const TAG = 'Service';

export interface ServiceDependencies {
  info: ApiInfo;
  /** True once no new work should come here. */
  isDraining: () => boolean;
  /** Rejects while the process cannot serve. */
  check: () => Promise<void>;
}

/** The service's own operations together with all others, which its document describes. */
export function withServiceOperations(
  { info, isDraining, check }: ServiceDependencies,
  operations: readonly Operation[],
): Operation[] {
  const all: Operation[] = [
    ...operations,
    operation({
      id: 'getHealth',
      method: 'get',
      path: '/healthz',
      tag: TAG,
      summary: 'Whether the process lives.',
      access: null,
      answers: { 200: { description: 'It does.', schema: z.object({ status: z.literal('ok') }) } },
      handle: async () => reply(200, { status: 'ok' as const }),
    }),
    operation({
      id: 'getReadiness',
      method: 'get',
      path: '/readyz',
      tag: TAG,
      summary: 'Whether the process can serve requests now.',
      access: null,
      answers: { 200: { description: 'It can.', schema: z.object({ status: z.literal('ready') }) } },
      problems: ['unavailable', 'recovering'],
      async handle() {
        if (isDraining()) throw unavailable(new Error('draining'));
        await check().catch((error: unknown) => {
          throw error instanceof Problem ? error : unavailable(error);
        });
        return reply(200, { status: 'ready' as const });
      },
    }),
    operation({
      id: 'getOpenApi',
      method: 'get',
      path: '/openapi.json',
      tag: TAG,
      summary: 'This API, described as OpenAPI 3.1.',
      access: null,
      answers: { 200: { description: 'The document.', schema: z.looseObject({ openapi: z.literal('3.1.1') }) } },
      handle: async () => replyBytes(200, json, { headers: CACHED }),
    }),
    operation({
      id: 'getDocs',
      method: 'get',
      path: '/docs',
      tag: TAG,
      summary: 'The same as a page to read.',
      access: null,
      answers: { 200: { description: 'The page.', type: 'text/html', schema: z.string() } },
      handle: async () =>
        replyBytes(200, page, {
          headers: { ...CACHED, 'Content-Type': 'text/html; charset=utf-8', 'Content-Security-Policy': DOCS_POLICY },
        }),
    }),
  ];
  const tags = [...info.tags, { name: TAG, description: 'What the process says about itself.' }];
  const document = openApiDocument({ ...info, tags }, all);
  const json = Buffer.from(JSON.stringify(document));
  const page = Buffer.from(docsPage(document));
  return all;
}

/** Neither changes while the process lives, and both may with the next release. */
const CACHED = { 'Cache-Control': 'public, max-age=300' };
