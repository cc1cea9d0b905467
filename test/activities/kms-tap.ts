/** Stands in front of the KMS stand-in, hears every digest before KMS does, and can cut a call off before or after KMS signed. */
import { createServer, request as httpRequest, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import { toHex, type Hex } from '../../protocol/hex.ts';

export type Fate = 'answered' | 'cut-before' | 'cut-after';

export interface KmsTap {
  url: string;
  stop(): Promise<void>;
}

/** @param hear is asked for every digest that is to be signed with ECDSA, before KMS hears of it */
export async function startKmsTap(target: string, hear: (digest: Hex) => Promise<Fate>): Promise<KmsTap> {
  const server = createServer((incoming, outgoing) => {
    (async () => {
      const chunks: Buffer[] = [];
      for await (const chunk of incoming) chunks.push(chunk as Buffer);
      const body = Buffer.concat(chunks);
      const digest = digestOf(incoming, body);
      const fate = digest === undefined ? 'answered' : await hear(digest);
      if (fate === 'cut-before') throw new Error('cut off');
      const answer = await forward(target, incoming, body);
      if (fate === 'cut-after') throw new Error('cut off');
      outgoing.writeHead(answer.status, answer.headers).end(answer.body);
    })().catch(() => incoming.socket.destroy());
  });
  await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    async stop() {
      const closed = new Promise<void>((resolve) => void server.close(() => resolve()));
      server.closeAllConnections();
      await closed;
    },
  };
}

function digestOf({ headers }: IncomingMessage, body: Buffer): Hex | undefined {
  if (headers['x-amz-target'] !== 'TrentService.Sign') return undefined;
  const { Message, MessageType } = JSON.parse(body.toString('utf8')) as { Message: string; MessageType: string };
  return MessageType === 'DIGEST' ? toHex(Buffer.from(Message, 'base64')) : undefined;
}

/** With the headers as they came: the signature of the request covers the host. */
function forward(
  target: string,
  { method, url, headers }: IncomingMessage,
  body: Buffer,
): Promise<{ status: number; headers: IncomingMessage['headers']; body: Buffer }> {
  return new Promise((resolve, reject) => {
    const { hostname, port } = new URL(target);
    const sent = httpRequest({ hostname, port, method, path: url, headers }, (answer) => {
      const chunks: Buffer[] = [];
      answer.on('data', (chunk: Buffer) => chunks.push(chunk));
      answer.on('error', reject);
      answer.on('end', () =>
        resolve({ status: answer.statusCode ?? 502, headers: answer.headers, body: Buffer.concat(chunks) }),
      );
    });
    sent.on('error', reject);
    sent.end(body);
  });
}
