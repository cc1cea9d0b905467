/** The HTTP server: its time-outs, and an end that loses nothing it has answered. */
import { createServer, type RequestListener, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';

/** How long a connection may take over each thing before it is closed; all in milliseconds. */
export interface Timeouts {
  /** From the connection, or the end of the last request, to the end of the headers. Then 408. */
  headersTimeout: number;
  /** To the end of the body: 5 MiB in this time are 1.4 Mbit/s. Then 408. */
  requestTimeout: number;
  /** Between an answer and the next request; longer than the 60 s after which load balancers let go, so that they do first. */
  keepAliveTimeout: number;
  /** Without a byte in either direction, whatever is going on: a client that stops reading its answer. */
  idleTimeout: number;
  /** How often the first two are looked at. */
  connectionsCheckingInterval: number;
}

const TIMEOUTS: Timeouts = {
  headersTimeout: 10_000,
  requestTimeout: 30_000,
  keepAliveTimeout: 65_000,
  idleTimeout: 60_000,
  connectionsCheckingInterval: 2_000,
};

export interface ServerOptions {
  host: string;
  /** 0: any free port. */
  port: number;
  /** After this long what is still open is cut off. */
  graceMilliseconds?: number;
  timeouts?: Timeouts;
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
  const { idleTimeout, ...timeouts } = options.timeouts ?? TIMEOUTS;
  const unanswered = new Set<ServerResponse>();
  let drained: Promise<void> | undefined;

  const server = createServer(timeouts, (request, response) => {
    unanswered.add(response);
    response.on('close', () => {
      unanswered.delete(response);
      // An answer that had begun before the drain left its connection open; Node sees it as idle one turn later.
      if (drained !== undefined) setImmediate(() => server.closeIdleConnections());
    });
    if (drained !== undefined) response.setHeader('Connection', 'close');
    handle(request, response);
  });
  // Node's default for a socket that times out: it is destroyed.
  server.timeout = idleTimeout;
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
