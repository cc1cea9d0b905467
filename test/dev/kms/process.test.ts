import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { createInterface } from 'node:readline';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { readEnv } from '../../../dev/kms/env.ts';
import { startKms } from '../../../dev/kms/server.ts';
import { principals } from './harness.ts';

const main = fileURLToPath(new URL('../../../dev/kms/main.js', import.meta.url));
const KMS_PRINCIPALS = JSON.stringify(principals);

function run(env: Record<string, string>) {
  return spawn(process.execPath, [main], { env, stdio: ['ignore', 'pipe', 'pipe'] });
}

describe('dev/kms process', () => {
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    it(`says where it listens, and leaves cleanly on ${signal}, also on two`, async () => {
      const child = run({ KMS_PRINCIPALS });
      const exit = once(child, 'exit');
      const problems = text(child.stderr);
      const died = exit.then(async ([code]) => assert.fail(`exit ${code} before it listened: ${await problems}`));
      // Once the line is there, an exit is what the test waits for, no failure.
      died.catch(() => undefined);
      const [line] = (await Promise.race([once(createInterface(child.stdout), 'line'), died])) as [string];
      const url = /^kms listening on (http:\/\/127\.0\.0\.1:\d+)$/.exec(line)?.[1];
      assert.ok(url !== undefined, line);
      assert.equal((await fetch(`${url}/_health`)).status, 200);
      child.kill(signal);
      child.kill(signal);
      assert.deepEqual(await exit, [0, null]);
      await assert.rejects(fetch(`${url}/_health`));
    });
  }

  it('refuses to start in production, as a process and as a function', async () => {
    const child = run({ KMS_PRINCIPALS, NODE_ENV: 'production' });
    const [output, [code]] = await Promise.all([text(child.stderr), once(child, 'exit')]);
    assert.equal(code, 1);
    assert.match(output, /refuses to run with NODE_ENV=production/);
    const before = process.env['NODE_ENV'];
    process.env['NODE_ENV'] = 'production';
    try {
      await assert.rejects(startKms({ principals }), /NODE_ENV=production/);
    } finally {
      if (before === undefined) delete process.env['NODE_ENV'];
      else process.env['NODE_ENV'] = before;
    }
    await (await startKms({ principals })).stop();
  });

  it('takes the port it is given, and fails when that is taken', async () => {
    const other = createServer().listen(0, '127.0.0.1');
    await once(other, 'listening');
    const { port } = other.address() as AddressInfo;
    await assert.rejects(startKms({ principals, port }), { code: 'EADDRINUSE' });
    other.close();
    await once(other, 'close');
    const kms = await startKms({ principals, port });
    assert.equal(kms.port, port);
    await Promise.all([kms.stop(), kms.stop()]);
    await kms.stop();
  });

  it('is not reachable by another address of this machine', async () => {
    const kms = await startKms({ principals });
    await assert.rejects(fetch(`http://127.0.0.2:${kms.port}/_health`));
    await kms.stop();
  });

  describe('environment', () => {
    it('is read', () => {
      assert.deepEqual(readEnv({ KMS_PRINCIPALS }), { principals, port: 0 });
      const all = {
        KMS_PRINCIPALS,
        KMS_PORT: '4599',
        KMS_STATE_FILE: '/x/kms.json',
        KMS_CONTROL_TOKEN: 'sixteen-letters!',
      };
      assert.deepEqual(readEnv(all), {
        principals,
        port: 4599,
        stateFile: '/x/kms.json',
        controlToken: 'sixteen-letters!',
      });
    });

    it('reports every problem at once, and no secret', () => {
      const bad = { AKIA1: { secretAccessKey: 'top-secret', arn: 'arn:aws:iam::1:role/x', allow: ['s3:*'] } };
      assert.throws(
        () =>
          readEnv({
            KMS_PRINCIPALS: JSON.stringify(bad),
            KMS_PORT: '70000',
            KMS_CONTROL_TOKEN: 'short',
            KMS_STATE_FILE: '',
          }),
        ({ message }: Error) => {
          for (const part of ['arn', 'allow', 'KMS_PORT', 'KMS_CONTROL_TOKEN', 'KMS_STATE_FILE'])
            assert.ok(message.includes(part), part);
          assert.ok(!message.includes('top-secret'));
          return true;
        },
      );
      assert.throws(() => readEnv({}), /KMS_PRINCIPALS/);
      assert.throws(() => readEnv({ KMS_PRINCIPALS: '{' }), /is not JSON/);
    });
  });
});
