/** The HTTP server: its time-outs, and an end that loses nothing it has answered. */
import { createServer, type RequestListener, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';

export interface ServerOptions {
  host: string;
  /** 0: any free port. */
  port: number;
  /** After this long what is still open is cut off. */
  graceMilliseconds?: number;
}

export interface RunningServer {
  /** `http://HOST:PORT` */
  url: string;
  /** Takes no new connections, lets requests in flight finish, then resolves. Repeatable: one end for all callers. */
  drain(): Promise<void>;
}

/** @throws when the port is taken */
export async function startServer(handle: RequestListener, options: ServerOptions): Promise<RunningServer> {
  const { host, port, graceMilliseconds = 20_000 } = options;
  const unanswered = new Set<ServerResponse>();
  let drained: Promise<void> | undefined;

  const server = createServer(
    { headersTimeout: 10_000, requestTimeout: 30_000, keepAliveTimeout: 65_000, connectionsCheckingInterval: 2_000 },
    (request, response) => {
      unanswered.add(response);
      response.on('close', () => {
        unanswered.delete(response);
        // An answer that had begun before the drain left its connection open; Node sees it as idle one turn later.
        if (drained !== undefined) setImmediate(() => server.closeIdleConnections());
      });
      if (drained !== undefined) response.setHeader('Connection', 'close');
      handle(request, response);
    },
  );
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, host, resolve);
  });
  server.removeAllListeners('error');

  async function end(): Promise<void> {
    const closed = new Promise<void>((resolve, reject) => {
      server.close((error) => (error ? reject(error) : resolve()));
    });
    // A kept-alive connection would otherwise stay open after its answer.
    for (const response of unanswered) if (!response.headersSent) response.setHeader('Connection', 'close');
    const grace = new AbortController();
    const cut = delay(graceMilliseconds, undefined, { signal: grace.signal, ref: false }).then(
      () => server.closeAllConnections(),
      () => undefined,
    );
    await closed;
    grace.abort();
    await cut;
  }

  const { address, family, port: bound } = server.address() as AddressInfo;
  return {
    url: `http://${family === 'IPv6' ? `[${address}]` : address}:${bound}`,
    drain: () => (drained ??= end()),
  };
}
