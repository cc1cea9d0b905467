/** The webhooks process's application, and deliveries signed as Clerk (through Svix) signs them. */
import { createHmac, randomBytes } from 'node:crypto';
import { Writable } from 'node:stream';
import pino from 'pino';
import { createPool } from '../../api/http/database.ts';
import { startServer } from '../../api/http/server.ts';
import { createApp } from '../../api/webhooks/app.ts';
import type { ProductDatabase } from '../product-database.ts';
import type { Answer } from './ingest-api.ts';

export interface DeliveryOptions {
  /** `svix-id`: the same one for every try of a delivery. */
  id?: string;
  /** Unix seconds; now unless given. */
  sentAt?: number;
  secret?: string;
  headers?: Record<string, string | undefined>;
}

export interface WebhooksApi {
  url: string;
  /** Every log line so far. */
  logged(): string;
  deliver(event: object | string, options?: DeliveryOptions): Promise<Answer>;
  stop(): Promise<void>;
}

export const newSecret = (): string => `whsec_${randomBytes(32).toString('base64')}`;

export const newDelivery = (): string => `msg_${randomBytes(12).toString('hex')}`;

/** Posts one delivery to a webhooks process. */
export async function deliverTo(
  url: string,
  signingSecret: string,
  event: object | string,
  options: DeliveryOptions = {},
): Promise<Answer> {
  const { id = newDelivery(), sentAt = Math.floor(Date.now() / 1000), secret = signingSecret } = options;
  const body = typeof event === 'string' ? event : JSON.stringify(event);
  const key = Buffer.from(secret.slice('whsec_'.length), 'base64');
  const signature = createHmac('sha256', key).update(`${id}.${sentAt}.${body}`).digest('base64');
  const headers = {
    'content-type': 'application/json',
    'svix-id': id,
    'svix-timestamp': String(sentAt),
    'svix-signature': `v1,${signature}`,
    ...options.headers,
  };
  const sent = Object.entries(headers).filter((entry): entry is [string, string] => entry[1] !== undefined);
  const response = await fetch(`${url}/webhooks/clerk`, { method: 'POST', body, headers: sent });
  const text = await response.text();
  return { status: response.status, headers: response.headers, text, json: JSON.parse(text) as unknown };
}

export async function startWebhooks(db: ProductDatabase): Promise<WebhooksApi> {
  const signingSecret = newSecret();
  const lines: string[] = [];
  const directory = createPool({
    url: db.urls.kiff_webhooks,
    max: 4,
    name: 'test-webhooks',
    incarnation: db.incarnation,
  });
  const log = pino(
    { level: 'trace' },
    new Writable({
      write(chunk: Buffer, _encoding, done) {
        lines.push(chunk.toString());
        done();
      },
    }),
  );
  const server = await startServer(createApp({ directory, signingSecret, log }), { host: '127.0.0.1', port: 0 });
  return {
    url: server.url,
    logged: () => lines.join(''),
    deliver: (event, options) => deliverTo(server.url, signingSecret, event, options),
    async stop() {
      await server.drain();
      await directory.end();
    },
  };
}

export const organisationEvent = (kind: 'created' | 'deleted', id: string): object => ({
  type: `organization.${kind}`,
  object: 'event',
  data:
    kind === 'created'
      ? { id, object: 'organization', name: 'Acme Inc', slug: 'acme-inc', created_by: 'user_1', members_count: 1 }
      : { id, object: 'organization', deleted: true },
  event_attributes: { http_request: { client_ip: '', user_agent: '' } },
  timestamp: Date.now(),
  instance_id: 'ins_test',
});

export const membershipEvent = (
  kind: 'created' | 'updated' | 'deleted',
  organisation: string,
  user: string,
  timestamp: number,
): object => ({
  type: `organizationMembership.${kind}`,
  object: 'event',
  data: {
    id: 'orgmem_1',
    object: 'organization_membership',
    role: 'org:admin',
    organization: { id: organisation, name: 'Acme Inc', slug: 'acme-inc' },
    public_user_data: { user_id: user, first_name: 'Ada', last_name: 'Lovelace', identifier: 'ada@example.org' },
  },
  event_attributes: { http_request: { client_ip: '', user_agent: '' } },
  timestamp,
  instance_id: 'ins_test',
});
