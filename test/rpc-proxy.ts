/** A JSON-RPC endpoint in front of a real one that can be spoiled: dead, silent, or lying. What it does not spoil is the real answer. */
import { createServer, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';

/** Takes part in one call: what it returns is answered in place of the real result. */
export type Lie = (call: { method: string; params: readonly unknown[]; result: unknown }) => unknown;

export interface RpcProxy {
  url: string;
  /** Breaks every connection, as a host that is down behind a load balancer does. */
  die(): void;
  /** Takes requests and never answers. */
  fallSilent(): void;
  lie(lie: Lie): void;
  /** Truthful and awake again. */
  recover(): void;
  stop(): Promise<void>;
}

interface Call {
  id: unknown;
  method: string;
  params?: readonly unknown[];
}
interface Answer {
  id: unknown;
  result?: unknown;
}

export async function startRpcProxy(target: string): Promise<RpcProxy> {
  let mode: 'awake' | 'dead' | 'silent' = 'awake';
  let lie: Lie | undefined;

  const server = createServer((request, response) => {
    if (mode === 'dead') return void request.socket.destroy();
    if (mode === 'silent') return;
    forward(request).then(
      (answer) => response.setHeader('content-type', 'application/json').end(answer),
      () => request.socket.destroy(),
    );
  });

  async function forward(request: IncomingMessage): Promise<string> {
    const chunks: Uint8Array[] = [];
    for await (const chunk of request) chunks.push(chunk as Uint8Array);
    const body = Buffer.concat(chunks);
    const real = await fetch(target, { method: 'POST', headers: { 'content-type': 'application/json' }, body });
    const answer = (await real.json()) as Answer | Answer[];
    if (lie === undefined) return JSON.stringify(answer);
    const calls = [JSON.parse(body.toString('utf8')) as Call | Call[]].flat();
    const spoil = (one: Answer): Answer => {
      const call = calls.find(({ id }) => id === one.id);
      if (call === undefined || !('result' in one) || lie === undefined) return one;
      return { ...one, result: lie({ method: call.method, params: call.params ?? [], result: one.result }) };
    };
    return JSON.stringify(Array.isArray(answer) ? answer.map(spoil) : spoil(answer));
  }

  await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    die() {
      mode = 'dead';
      server.closeAllConnections();
    },
    fallSilent() {
      mode = 'silent';
    },
    lie(told) {
      lie = told;
    },
    recover() {
      mode = 'awake';
      lie = undefined;
    },
    async stop() {
      const closed = new Promise<void>((resolve) => void server.close(() => resolve()));
      server.closeAllConnections();
      await closed;
    },
  };
}
