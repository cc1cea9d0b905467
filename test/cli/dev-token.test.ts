import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createSessionVerifier } from '../../api/access/session-token.ts';
import { devTokenCommand } from '../../cli/dev-token.ts';
import { LOCAL_PARTY, localJwtKey } from '../../dev/clerk.ts';
import { verifySession } from '../api/session-tokens.ts';

describe('kiff dev-token', () => {
  let state: string;
  let verify: ReturnType<typeof createSessionVerifier>;
  const stack = { apiUrl: 'http://127.0.0.1:8080', clerkParty: LOCAL_PARTY };
  const write = (content: object): void => writeFileSync(join(state, 'dev.json'), JSON.stringify(content));

  before(() => {
    state = mkdtempSync(join(tmpdir(), 'kiff-cloud-dev-token-'));
    verify = createSessionVerifier({ jwtKey: localJwtKey(state), authorizedParties: [LOCAL_PARTY] });
    write(stack);
  });
  after(() => rmSync(state, { recursive: true, force: true }));

  async function run(...args: string[]): Promise<{ code: number; out: string; err: string }> {
    let out = '';
    let err = '';
    const code = await devTokenCommand.run(['--state', state, ...args], {
      stdin: (async function* () {})(),
      stdout: { write: (text) => (out += text) },
      stderr: { write: (text) => (err += text) },
    });
    return { code, out: out.trimEnd(), err };
  }

  it('makes a token that the local API takes: an admin of the demo tenant, freshly verified', async () => {
    const { code, out } = await run();
    assert.equal(code, 0);
    const session = await verify(out);
    assert.deepEqual([session.organisation, session.userId, session.factorAges], ['org_demo', 'user_dev', [0, 0]]);
    for (const permission of ['org:records:read', 'org:keys:manage', 'org:custody:manage', 'org:audit:read'] as const) {
      assert.ok(session.has(permission), permission);
    }
  });

  it('or as it is told', async () => {
    const { out } = await run(
      '--organisation=org_2abc',
      '--user=user_x',
      '--permissions=org:audit:read',
      '--factors=7,-1',
    );
    const session = await verify(out);
    assert.deepEqual([session.organisation, session.userId, session.factorAges], ['org_2abc', 'user_x', [7, -1]]);
    assert.deepEqual([session.has('org:audit:read'), session.has('org:records:read')], [true, false]);
  });

  it('with a key that nobody else reads, and that no deployment knows', async () => {
    assert.equal(statSync(join(state, 'clerk.pem')).mode & 0o777, 0o600);
    await assert.rejects(verifySession((await run()).out), { slug: 'unauthorized' });
  });

  it('refuses where there is no local stack', async () => {
    const elsewhere = await run('--state', join(state, 'none'));
    assert.deepEqual([elsewhere.code, elsewhere.out], [2, '']);
    assert.match(elsewhere.err, /not the state of a local stack: it has no clerk.pem/);
    write({ ...stack, apiUrl: 'https://api.kiff.dev' });
    assert.match((await run()).err, /its API is not on this machine/);
    rmSync(join(state, 'dev.json'));
    assert.match((await run()).err, /it has no dev.json/);
    write(stack);
  });

  it('refuses arguments that make no token', async () => {
    for (const args of [
      ['--tenant', 'demo', '--organisation', 'org_x'],
      ['--organisation', 'acme'],
      ['--user', 'ada'],
      ['--permissions', 'everything'],
      ['--factors', '1'],
      ['--seconds', '0'],
      ['--seconds', '86401'],
      ['--unknown'],
      ['more'],
    ]) {
      const { code, out } = await run(...args);
      assert.deepEqual([code, out], [2, ''], args.join(' '));
    }
  });
});
