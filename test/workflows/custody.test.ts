/** The saga of a custody migration on real parts: it ends wholly new or wholly old, whatever happens on its way. */
import assert from 'node:assert/strict';
import { DescribeKeyCommand, NotFoundException, type KeyMetadata } from '@aws-sdk/client-kms';
import { custodyKeyAlias, keyAddress, tenantKeyAlias } from '../../activities/kms/keys.ts';
import { registryAbi } from '../../contracts/registry.ts';
import type { Certificate } from '../../protocol/certificate.ts';
import { toHex } from '../../protocol/hex.ts';
import { verifyCertificateText } from '../../protocol/verify-certificate.ts';
import { custodyId, retireKeyId } from '../../workflows/ids.ts';
import { startIngestApi } from '../api/ingest-api.ts';
import { createOwnSigner } from '../custody/own-signer.ts';
import { createStage, type Company, type Stage } from '../custody/stage.ts';

const STEPS =
  'identify authorise snapshot register prove trial hand-over propose cooling-off accept final cut-over catch-up'.split(
    ' ',
  );

describe('a custody migration', function () {
  this.timeout(240_000);
  let stage: Stage;
  /** They take their time side by side: each has a tenant of its own. */
  let running: Map<string, Promise<void>>;

  before(async function () {
    if (process.env['TEMPORAL_ADDRESS']) this.skip(); // then set-up provides no server of our own
    // No handover is to expire here, however slow the machine.
    stage = await createStage({ handoverExpiry: 600 });
    running = new Map(
      Object.entries(SCENARIOS).map(([title, run]) => {
        const outcome = stage.company().then(run);
        outcome.catch(() => undefined); // its test says so
        return [title, outcome];
      }),
    );
  });
  after(async () => {
    await Promise.allSettled(running?.values() ?? []);
    await stage?.stop();
  });

  async function keyOf(id: string): Promise<KeyMetadata | null> {
    try {
      return (await stage.plane.kmsAs('admin').send(new DescribeKeyCommand({ KeyId: id }))).KeyMetadata ?? null;
    } catch (error) {
      if (error instanceof NotFoundException) return null;
      throw error;
    }
  }

  /** Everything is as it was before, and the log goes on. */
  async function assertUndone(company: Company, migration: string, reason: string): Promise<void> {
    assert.deepEqual(await company.people.answer(migration), { state: 'failed', reason });
    assert.equal(await company.disagreement(migration), null);
    const { signer, epoch } = await company.onChain();
    assert.deepEqual([signer, epoch], [company.tenant.genesisSigner, 0]);
    assert.equal(await keyOf(custodyKeyAlias(company.tenant.id, 1, 1)), null);
    assert.equal((await keyOf(tenantKeyAlias(company.tenant.id)))?.KeyState, 'Enabled');
    const events = await stage.plane.database.sql<{ kind: string; reason: string | null }>(
      `SELECT kind, detail ->> 'reason' AS reason FROM kiff_t_${company.tenant.id}.events
        WHERE detail ->> 'migration' = $1 AND kind LIKE 'custody.%' ORDER BY id`,
      [migration],
    );
    assert.deepEqual(events, [
      { kind: 'custody.started', reason: null },
      { kind: 'custody.undone', reason },
    ]);
    await company.sealed(2);
  }

  async function cancelledOnChain(migration: string): Promise<boolean> {
    const [row] = await stage.plane.database.sql<{ handover_hash: Buffer }>(
      'SELECT handover_hash FROM kiff.handovers WHERE migration = $1',
      [migration],
    );
    return stage.plane.chain.readContract({
      address: stage.plane.registry.address,
      abi: registryAbi,
      functionName: 'cancelled',
      args: [toHex(row!.handover_hash)],
    });
  }

  /** Whoever has the certificate checks the succession without us: every signature in it, and the chain's word for its end. */
  async function assertCertified(migration: string, ours: boolean): Promise<void> {
    const [row] = await stage.plane.database.sql<{ certificate: Certificate }>(
      'SELECT certificate FROM kiff.custody_certificates WHERE migration = $1',
      [migration],
    );
    const { certificate } = row!;
    const report = await verifyCertificateText(JSON.stringify(certificate), null, { trustReceipt: true });
    const failed = report.checks.filter(({ status }) => status === 'failed');
    assert.deepEqual(failed, []);
    assert.equal(certificate.approvals?.passkeys.length, 2);
    assert.equal(certificate.trial.length, 2);
    assert.equal(certificate.operatorSays?.oldKeyDisabled?.state, ours ? 'Disabled' : undefined);
  }

  const SCENARIOS: Record<string, (company: Company) => Promise<void>> = {
    async roundTrip(company) {
      const { tenant, people, admins } = company;
      await company.sealed(1);
      const { arn } = await company.key();
      const first = await company.migrate({ custody: 2, keyArn: arn });
      await company.reached(first, 'accept');
      const late = await people.veto(admins[1], first);
      assert.deepEqual(await people.answer(first), { state: 'done', reason: null });
      assert.deepEqual(await people.answer(late), { state: 'failed', reason: 'too-late' });
      const tenantSigner = await keyAddress(stage.plane.kmsAs('signer'), arn);
      const onChain = await company.onChain();
      assert.deepEqual([onChain.signer, onChain.epoch], [tenantSigner, 1]);
      assert.deepEqual(done(await company.steps(first)).slice(0, 15), [...STEPS, 'disable-old-key', 'certificate']);
      assert.notEqual((await keyOf(tenantKeyAlias(tenant.id)))?.KeyState, 'Enabled');
      assert.equal(await company.disagreement(first), null);
      await assertCertified(first, true);
      await company.sealed(1);

      const second = await company.migrate({ custody: 1 });
      assert.deepEqual(await people.answer(second), { state: 'done', reason: null });
      const { signer, epoch } = await company.onChain();
      assert.deepEqual(
        [signer, epoch],
        [await keyAddress(stage.plane.kmsAs('signer'), custodyKeyAlias(tenant.id, 1, 2)), 2],
      );
      // A tenant's own key is the tenant's.
      assert.deepEqual(done(await company.steps(second)), [...STEPS, 'certificate']);
      assert.equal(await company.disagreement(second), null);
      await assertCertified(second, false);
      await company.sealed(2);

      // The old key of ours was observed for no time here, and KMS deletes it.
      const { deletedAt } = (await stage.temporal.client.workflow.getHandle(retireKeyId(tenant.id, 0)).result()) as {
        deletedAt: string;
      };
      assert.equal((await keyOf(tenantKeyAlias(tenant.id)))?.DeletionDate?.toISOString(), deletedAt);
    },

    async ownSigner(company) {
      const { database, registry } = stage.plane;
      const api = await startIngestApi(database, { contract: registry.address });
      const { key } = await database.createKey(company.tenant, { scopes: ['signer'] });
      const own = createOwnSigner(api.url, key);
      own.come();
      try {
        const first = await company.migrate({ custody: 3, signer: own.address });
        assert.deepEqual(await company.people.answer(first), { state: 'done', reason: null });
        const { signer, epoch } = await company.onChain();
        assert.deepEqual([signer, epoch], [own.address, 1]);
        assert.deepEqual(done(await company.steps(first)).slice(0, 15), [...STEPS, 'disable-old-key', 'certificate']);
        assert.equal(await company.disagreement(first), null);
        await assertCertified(first, true);
        await company.sealed(2);
        const asked = own.signed.map(({ kind }) => kind).filter((kind) => kind !== 'seal');
        assert.deepEqual(asked, ['proof', 'shadow', 'shadow', 'handover', 'accept']);

        const second = await company.migrate({ custody: 1 });
        assert.deepEqual(await company.people.answer(second), { state: 'done', reason: null });
        assert.equal(await company.disagreement(second), null);
        await assertCertified(second, false);
        assert.deepEqual((await company.onChain()).epoch, 2);
        await company.sealed(1);
      } finally {
        await own.leave();
        await api.stop();
      }
    },

    async unanswered(company) {
      const migration = await company.people.start(company.admins[0], { custody: 1 });
      await company.people.approve(company.admins[0], migration);
      await company.reached(migration, 'authorise', 'waiting');
      assert.notEqual(
        await keyOf(custodyKeyAlias(company.tenant.id, 1, 1)),
        null,
        'control: there was a key to take away',
      );
      await assertUndone(company, migration, 'approvals-timed-out');
    },

    async vetoed(company) {
      const migration = await company.migrate({ custody: 1 });
      await company.reached(migration, 'propose');
      const veto = await company.people.veto(company.admins[1], migration);
      await assertUndone(company, migration, 'vetoed');
      assert.deepEqual(await company.people.answer(veto), { state: 'done', reason: null });
      assert.equal(await cancelledOnChain(migration), true);
    },

    async twoAtOnce(company) {
      const [admin] = company.admins;
      const first = await company.people.start(admin, { custody: 1 });
      await company.reached(first, 'authorise', 'begun');
      const second = await company.people.start(admin, { custody: 1 });
      assert.deepEqual(await company.people.answer(second), { state: 'failed', reason: 'custody-active' });
      const cancel = await company.people.veto(admin, first, 'cancel');
      await assertUndone(company, first, 'cancelled');
      assert.deepEqual(await company.people.answer(cancel), { state: 'done', reason: null });
      const none = await company.people.veto(admin, first, 'cancel');
      assert.deepEqual(await company.people.answer(none), { state: 'failed', reason: 'migration-ended' });
    },

    async approverLeaves(company) {
      const migration = await company.migrate({ custody: 1 });
      await company.reached(migration, 'authorise');
      await company.people.leaves(company.admins[1]);
      await assertUndone(company, migration, 'custody-refused');
    },

    async passkeyRemoved(company) {
      const [first, second] = company.admins;
      const migration = await company.migrate({ custody: 1 });
      await company.reached(migration, 'authorise');
      await company.people.remove(first, second.passkey.id);
      await assertUndone(company, migration, 'custody-refused');
    },

    async operatorCancels(company) {
      const migration = await company.migrate({ custody: 1 });
      await company.reached(migration, 'prove');
      await stage.temporal.client.workflow.getHandle(custodyId(company.tenant.id)).cancel();
      await assertUndone(company, migration, 'cancelled');
    },

    async signerAway(company) {
      const key = await company.key();
      const migration = await company.migrate({ custody: 2, keyArn: key.arn });
      // The key signs next when it accepts: until then a slow machine has the proposal's time as well.
      await company.reached(migration, 'hand-over');
      await key.revoke();
      await company.reached(migration, 'accept', 'begun');
      await company.sealed(3);
      await key.allow();
      assert.deepEqual(await company.people.answer(migration), { state: 'done', reason: null });
      assert.equal(await company.disagreement(migration), null);
      await company.sealed(1);
    },
  };

  it('C12: the tenant takes its key, and gives it back to a fresh one of ours; a veto after the acceptance is too late', () =>
    running.get('roundTrip'));
  it('C12: the tenant’s own signer, which is never called, takes the log over, seals it, and gives it back', () =>
    running.get('ownSigner'));
  it('C1: an admin who never answers: it times out, everything is undone, and the audit trail says so', () =>
    running.get('unanswered'));
  it('C2: vetoed during the cooling-off: cancelled on chain, the epoch unchanged', () => running.get('vetoed'));
  it('C9: a second one is refused while the first is under way; whoever started it may cancel it', () =>
    running.get('twoAtOnce'));
  it('C11: an approver who leaves the organisation mid-way stops it at the next gate', () =>
    running.get('approverLeaves'));
  it('a passkey that is removed mid-way stops it at the next gate, when fewer than two approvals are left', () =>
    running.get('passkeyRemoved'));
  it('an operator cancels it in the Temporal UI: a proper undo', () => running.get('operatorCancels'));
  it('a new signer that is away when it is to accept holds nothing up, and is asked again', () =>
    running.get('signerAway'));
});

/** Steps that were done, in order. */
function done(steps: string[]): string[] {
  return steps.filter((at) => at.endsWith(' done')).map((at) => at.slice(0, -5));
}
