import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type AddressInfo } from 'node:net';
import { freePort } from '../../dev/ports.ts';

describe('dev/ports', () => {
  it('gives ports that can be listened on, outside of what systems hand out themselves', async () => {
    for (let i = 0; i < 20; i++) {
      const port = await freePort();
      assert.ok(port >= 12_000 && port < 32_000, String(port));
      const server = createServer().listen(port, '127.0.0.1');
      await once(server, 'listening');
      server.close();
    }
  });

  it('never gives one that somebody listens on', async () => {
    const server = createServer().listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as AddressInfo;
    await assert.rejects(freePort(port, port + 1), /no free port/);
    server.close();
    await once(server, 'close');
    assert.equal(await freePort(port, port + 1), port);
  });
});
