import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { createHttpRpc } from '../../cli/rpc.ts';
import { RpcUnreachable } from '../../protocol/index.ts';

describe('cli/rpc', () => {
  let server: Server;
  let url: URL;

  before(async () => {
    server = createServer((request, response) => {
      const { pathname } = new URL(request.url ?? '/', 'http://localhost');
      if (pathname === '/silent') return;
      if (pathname === '/endless') {
        const more = (): void => {
          if (!response.destroyed) response.write(' '.repeat(10_000), more);
        };
        more();
        return;
      }
      response.end('{"jsonrpc":"2.0","id":1,"result":{"answer":42}}');
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    url = new URL(`http://127.0.0.1:${(server.address() as AddressInfo).port}/`);
  });

  after(async () => {
    server.closeAllConnections();
    server.close();
    await once(server, 'close');
  });

  it('resolves to the result', async () => {
    assert.deepEqual(await createHttpRpc(url)('eth_chainId', []), { answer: 42 });
  });

  it('does not wait for ever', async () => {
    const rpc = createHttpRpc(new URL('/silent', url), { timeoutMs: 50, maxBytes: 1000 });
    await assert.rejects(
      rpc('eth_chainId', []),
      (error) => error instanceof RpcUnreachable && /in time/.test(error.message),
    );
  });

  it('does not read for ever', async () => {
    const rpc = createHttpRpc(new URL('/endless', url), { timeoutMs: 10_000, maxBytes: 100_000 });
    await assert.rejects(
      rpc('eth_chainId', []),
      (error) => error instanceof RpcUnreachable && /larger/.test(error.message),
    );
  });

  it('does not tell the URL, which may hold a key', async () => {
    const rpc = createHttpRpc(new URL('http://127.0.0.1:1/v2/secret-key'));
    await assert.rejects(rpc('eth_chainId', []), (error) => {
      assert(error instanceof RpcUnreachable);
      assert(!error.message.includes('secret-key'));
      return true;
    });
  });
});
