/**
 * Vetoes by link, served by the signing plane itself: whoever has taken the APIs over cannot keep a notice's link from working. All that it can
 * do is stop a migration.
 */
import { createHash } from 'node:crypto';
import type { RequestListener } from 'node:http';
import type { Pool } from 'pg';
import type { Logger } from 'pino';
import { z } from 'zod';
import { createApplication } from '../../api/http/application.ts';
import { operation, replyBytes } from '../../api/http/operation.ts';
import type { TrustProxy } from '../../api/http/read-env.ts';
import { unknownPage, VETO_POLICY, vetoPage, type Veto } from './page.ts';

export interface AppDependencies {
  /** The product database with the login kiff_veto. */
  pool: Pick<Pool, 'query'>;
  log: Logger;
  trustProxy?: TrustProxy;
  isDraining?: () => boolean;
}

const INFO = {
  title: 'KIFF Cloud: vetoes',
  version: '1',
  description: 'Stops a change of a log’s signer, for whoever holds a link from one of our notices.',
  tags: [{ name: 'Vetoes', description: 'Pages for people. Each link works once.' }],
};

/** 32 bytes, base64url. Another text is another link, so what does not match is simply unknown. */
const params = z.object({ token: z.string().max(64) });

const PAGE = { description: 'A page.', schema: z.string(), type: 'text/html' };

const hashOf = (token: string): Buffer => createHash('sha256').update(Buffer.from(token, 'base64url')).digest();

const html = (text: string) => ({
  bytes: Buffer.from(text),
  headers: { 'Content-Type': 'text/html; charset=utf-8', 'Content-Security-Policy': VETO_POLICY },
});

export function createApp({
  pool,
  log,
  trustProxy = false,
  isDraining = () => false,
}: AppDependencies): RequestListener {
  const find = async (token: string): Promise<Veto | undefined> =>
    (await pool.query<Veto>('SELECT * FROM kiff.find_veto($1)', [hashOf(token)])).rows[0];
  const show = async (token: string) => {
    const veto = await find(token);
    const { bytes, headers } = html(veto === undefined ? unknownPage() : vetoPage(veto));
    return veto === undefined ? replyBytes(404, bytes, { headers }) : replyBytes(200, bytes, { headers });
  };
  const facts = {
    path: '/veto/{token}',
    tag: 'Vetoes',
    access: null,
    params,
    answers: { 200: PAGE, 404: { ...PAGE, description: 'A page: there is no such link.' } },
  } as const;

  return createApplication({
    info: INFO,
    log,
    trustProxy,
    isDraining,
    headers: { referrerPolicy: { policy: 'no-referrer' } },
    operations: [
      // Mail programs open links by themselves: looking changes nothing.
      operation({
        ...facts,
        id: 'showVeto',
        method: 'get',
        summary: 'What a link would stop.',
        handle: ({ params: { token } }) => show(token),
      }),
      operation({
        ...facts,
        id: 'castVeto',
        method: 'post',
        summary: 'Stop it.',
        async handle({ params: { token } }) {
          const { rows } = await pool.query<{ cast: boolean }>('SELECT kiff.cast_veto($1) AS cast', [hashOf(token)]);
          if (rows[0]?.cast === true) log.info('veto.cast');
          return show(token);
        },
      }),
    ],
    async check() {
      const { rowCount } = await pool.query('SELECT FROM kiff.deployment');
      if (rowCount !== 1) throw new Error('the database has no deployment yet');
    },
  });
}
