/** /verify: the page that verifies receipts in the visitor's browser. What it does is page/; here it is only handed out. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import { operation, replyBytes, type Operation } from '../http/operation.ts';

/** Where the build puts it (page/build.ts), from where this file is built to. */
const built = (name: string): Buffer => readFileSync(join(import.meta.dirname, '../../page', name));

export function verifyPageOperations(): Operation[] {
  const page = built('verify.html');
  // As a header too, where it can say one thing more: nobody frames the page.
  const policy = `${built('verify.policy.txt').toString('utf8')}; frame-ancestors 'none'`;
  return [
    operation({
      id: 'getVerifyPage',
      method: 'get',
      path: '/verify',
      tag: 'Verification',
      summary: 'A page that verifies receipts, in the browser and without this service.',
      description:
        'It is one file, which can be kept and used from a disk. It sends nothing anywhere but to the node that its visitor names.',
      access: null,
      answers: { 200: { description: 'The page.', type: 'text/html', schema: z.string() } },
      handle: async () =>
        replyBytes(200, page, {
          headers: {
            'Cache-Control': 'public, max-age=300',
            'Content-Type': 'text/html; charset=utf-8',
            'Content-Security-Policy': policy,
            'Referrer-Policy': 'no-referrer',
          },
        }),
    }),
  ];
}
