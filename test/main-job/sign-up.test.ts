/** A company signs up: from Clerk's signed delivery to its first sealed record, over HTTP on the whole stack. Nobody helps. */
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { devTokenCommand } from '../../cli/dev-token.ts';
import { LOCAL_PARTY } from '../../dev/clerk.ts';
import { parseReceipt } from '../../protocol/receipt.ts';
import { deliverTo, membershipEvent, organisationEvent } from '../api/webhooks-app.ts';
import { auditRecord, get, post, until, untilLevel } from './client.ts';
import { localStack, type LocalStack } from './local-stack.ts';
import { assertUnbroken } from './unbroken.ts';

/** Milliseconds. It takes a few seconds; ten are wanted. The figure is printed, and a loaded machine gets more. */
const LIMIT = 60_000;

describe('sign-up', function () {
  this.timeout(180_000);
  let local: LocalStack;
  const organisation = `org_signup${Date.now().toString(36)}`;
  const admin = 'user_founder';

  before(async () => {
    local = await localStack();
    await local.tenants(0); // none, and the earlier ones rest
  });

  const deliver = async (event: object): Promise<void> => {
    const { webhooksPort, secrets } = local.stack.around;
    const { status, json } = await deliverTo(`http://127.0.0.1:${webhooksPort}`, secrets.webhookSigning, event);
    assert.deepEqual([status, json], [200, { outcome: 'changed' }]);
  };

  /** As `npx kiff dev-token` prints it, for a stack that `npm start` has written down. */
  async function token(...more: string[]): Promise<string> {
    const { around, apiUrl } = local.stack;
    writeFileSync(join(around.state, 'dev.json'), JSON.stringify({ apiUrl, clerkParty: LOCAL_PARTY }));
    let out = '';
    const code = await devTokenCommand.run(
      ['--state', around.state, '--organisation', organisation, '--user', admin, ...more],
      {
        stdin: (async function* () {})(),
        stdout: { write: (text) => (out += text) },
        stderr: { write: (text) => assert.fail(text) },
      },
    );
    assert.equal(code, 0);
    return out.trim();
  }

  async function ask(method: string, path: string, credential: string, body?: object) {
    const response = await fetch(`${local.stack.apiUrl}${path}`, {
      method,
      headers: { authorization: `Bearer ${credential}`, ...(body && { 'content-type': 'application/json' }) },
      ...(body && { body: JSON.stringify(body) }),
    });
    return { status: response.status, json: (await response.json()) as Record<string, any> };
  }

  it('Clerk says so, an admin makes the first key, and the first record is accepted, sealed and final', async () => {
    const session = await token();
    const early = await ask('POST', '/v1/keys', session, { label: 'first' });
    assert.deepEqual([early.status, early.json['type']], [503, 'https://kiff.dev/problems/tenant-not-ready']);

    const began = performance.now();
    await deliver(organisationEvent('created', organisation));
    await deliver(membershipEvent('created', organisation, admin, Date.now()));
    const made = await until('the tenant to be usable', async () => {
      const answer = await ask('POST', '/v1/keys', session, { label: 'first' });
      if (answer.status === 503) return undefined;
      assert.equal(answer.status, 201, JSON.stringify(answer.json));
      return answer.json;
    });
    const id = made['key'].split('_')[2] as string;
    const tenant = { id, apiKey: made['key'] as string, origin: `kiff.test/t/${id}`, genesisSigner: '0x' as const };
    const record = await post(local.stack.apiUrl, tenant, auditRecord());
    const took = performance.now() - began;
    console.log(`        from Clerk's delivery to the first accepted record: ${(took / 1000).toFixed(1)} s`);
    assert.ok(took < LIMIT, `${took} ms`);
    assert.deepEqual([record.status, record.leafIndex], ['accepted', 0]);

    await untilLevel(local.stack.apiUrl, tenant, record.id, 'final');
    const { body } = await get(local.stack.apiUrl, tenant, `/v1/records/${record.id}/receipt`);
    const receipt = parseReceipt(body);
    assert.deepEqual([receipt.origin, receipt.leafIndex, receipt.seal.seq], [tenant.origin, 0, 1]);
    await assertUnbroken(local, { ...tenant, genesisSigner: receipt.genesisSigner });

    // What came of it, as the admin sees it: one key, made by a person; and no secret of it crossed the valve.
    const { json: keys } = await ask('GET', '/v1/keys', await token());
    assert.deepEqual(
      keys['keys'].map(({ id: keyId, label }: any) => [keyId, label]),
      [[made['id'], 'first']],
    );
    const { json: audit } = await ask('GET', '/v1/audit', await token());
    const event = audit['events'].find(({ kind }: any) => kind === 'key.created');
    assert.equal(event.detail.by, admin);
    const handle = local.temporal.workflow.getHandle(`onboarding/${id}`);
    assert.ok(!JSON.stringify((await handle.fetchHistory()).events).includes(made['key']));

    // A member that Clerk says has left is out at the next gate, whatever its token says.
    await deliver(membershipEvent('deleted', organisation, admin, Date.now() + 1));
    const refused = await ask('POST', '/v1/keys', await token(), { label: 'second' });
    assert.deepEqual([refused.status, refused.json['type']], [403, 'https://kiff.dev/problems/not-a-member']);
  });
});
