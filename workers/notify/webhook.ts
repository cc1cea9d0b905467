/** One POST to a tenant's webhook, signed as Standard Webhooks says (standardwebhooks.com): HMAC-SHA-256 over id, time and body. */
import { request as overHttp } from 'node:http';
import { request as overHttps } from 'node:https';
import { Webhook } from 'standardwebhooks';
import { judgedLookup, judgeUrl, RefusedDestination } from './destination.ts';

export interface WebhookDelivery {
  readonly url: string;
  readonly secret: string;
  /** The same for every try: a receiver knows by it what it has had. */
  readonly id: string;
  readonly body: string;
}

const TIMEOUT_MS = 10_000;

/**
 * No redirect is followed and nothing of the answer is read but its status.
 * @returns null when it was taken (2xx), else why not: a fixed word
 */
export async function postWebhook(
  { url: text, secret, id, body }: WebhookDelivery,
  allowLoopback: boolean,
  now: Date,
): Promise<'refused-destination' | 'not-taken' | 'no-answer' | null> {
  let url: URL;
  try {
    url = judgeUrl(text, allowLoopback);
  } catch (error) {
    if (error instanceof RefusedDestination) return 'refused-destination';
    throw error;
  }
  const headers = {
    'content-type': 'application/json',
    'content-length': Buffer.byteLength(body),
    'user-agent': 'kiff-cloud-notify',
    'webhook-id': id,
    'webhook-timestamp': String(Math.floor(now.getTime() / 1000)),
    'webhook-signature': new Webhook(secret).sign(id, now, body),
  };
  const send = url.protocol === 'https:' ? overHttps : overHttp;
  return new Promise((resolve) => {
    const signal = AbortSignal.timeout(TIMEOUT_MS);
    const sent = send(
      url,
      // A connection of its own: a pooled one would be of an address that was judged for another time.
      { method: 'POST', headers, agent: false, lookup: judgedLookup(allowLoopback), signal },
      (response) => {
        response.destroy();
        const status = response.statusCode ?? 0;
        resolve(status >= 200 && status < 300 ? null : 'not-taken');
      },
    );
    sent.on('error', (error) => resolve(error instanceof RefusedDestination ? 'refused-destination' : 'no-answer'));
    sent.end(body);
  });
}
