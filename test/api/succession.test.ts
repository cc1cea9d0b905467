/** Receipts, logs and policy of a log whose signer changed, twice: from before, across and after, each verified by its holder. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { keccak256, type LocalAccount } from 'viem';
import { createHttpRpc } from '../../cli/rpc.ts';
import type { Policy } from '../../protocol/policy.ts';
import type { AnchoredHandover, Receipt } from '../../protocol/receipt.ts';
import { verifyCertificateText } from '../../protocol/verify-certificate.ts';
import { verifyReceiptText } from '../../protocol/verify.ts';
import { addressOf, createHeirs, freshKey, type Heirs, type OwnLog } from '../activities/anchoring/heir.ts';
import { createPlane, type Plane } from '../activities/plane.ts';
import { anvil } from '../parts.ts';
import { makeCertificate } from '../protocol/certificate-factory.ts';
import { startIngestApi, type IngestApi } from './ingest-api.ts';

const failing = ({ checks }: Awaited<ReturnType<typeof verifyReceiptText>>) =>
  checks.filter(({ status }) => status === 'failed' || status === 'not-run').map(({ name }) => name);

describe('a log of several signers', function () {
  this.timeout(60_000);
  let plane: Plane;
  let heirs: Heirs;
  let api: IngestApi;
  let log: OwnLog;
  const signers: LocalAccount[] = [freshKey(), freshKey()];
  const receipts: string[] = [];
  let policy: string;

  /** Posts a record, seals its period and anchors it. @returns its receipt */
  async function posted(id: string): Promise<string> {
    const record = { id, kind: 'order', entity_id: id, entity_type: 'order', created_at: new Date().toISOString() };
    assert.equal((await api.post(log.tenant.apiKey, JSON.stringify(record))).status, 201);
    await heirs.seal(log, 0);
    await plane.anchorAll();
    return receiptOf(id);
  }

  async function receiptOf(id: string): Promise<string> {
    const { status, text } = await api.get(`/v1/records/${id}/receipt`, log.tenant.apiKey);
    assert.equal(status, 200, text);
    return text;
  }

  async function handOver(to: LocalAccount, custody: number): Promise<void> {
    const signed = await heirs.draft(log, to, { custody });
    await heirs.record(signed);
    await plane.anchorAll();
    const acceptance = await heirs.acceptance(log, signed, to);
    await heirs.recordAcceptance(acceptance);
    await plane.anchorAll();
    heirs.succeed(log, signed, acceptance.accept, to);
    await plane.database.sql(
      `UPDATE kiff.custody_migrations SET ended_at = clock_timestamp(), outcome = 'completed' WHERE id = $1`,
      [signed.migrationId],
    );
  }

  before(async () => {
    plane = await createPlane({ coolingOffSeconds: 0 });
    heirs = createHeirs(plane);
    const { address: contract, fromBlock } = plane.registry;
    api = await startIngestApi(plane.database, { contract });
    const code = await plane.chain.getCode({ address: contract });
    await plane.database.sql('SELECT kiff.publish_registry($1, $2), kiff.publish_checkpoint_key($3)', [
      Buffer.from(keccak256(code!).slice(2), 'hex'),
      fromBlock,
      randomBytes(32),
    ]);
    log = await heirs.log();
    const [first, second] = signers;
    receipts.push(await posted('before'));
    await handOver(first!, 2);
    receipts.push(await posted('across'));
    await handOver(second!, 1); // C12: back into our custody, with a fresh key
    receipts.push(await posted('after'));
    await plane.database.sql('UPDATE kiff.tenants SET log_public = true WHERE id = $1', [log.tenant.id]);
    policy = (await api.get('/.well-known/kiff-policy.json', log.tenant.apiKey)).text;
  });
  after(async () => {
    await api.stop();
    await heirs.close();
    await plane.stop();
  });

  it('its receipts verify against the chain and its policy, each with the handovers that led to its signer', async () => {
    const rpc = createHttpRpc(new URL((await anvil()).rpcUrl));
    for (const [index, text] of receipts.entries()) {
      const receipt = JSON.parse(text) as { handovers: unknown[]; seal: { epoch: number; signer: string } };
      assert.equal(receipt.handovers.length, index);
      assert.equal(receipt.seal.epoch, index);
      const report = await verifyReceiptText(text, JSON.parse(policy), { rpc });
      assert.deepEqual(failing(report), []);
      assert.equal(report.ok, true);
    }
  });

  it('they verify offline; a receipt from before a succession is the same after it', async () => {
    for (const text of receipts) {
      const report = await verifyReceiptText(text, JSON.parse(policy), { offline: true });
      assert.deepEqual(failing(report), []);
    }
    assert.equal(await receiptOf('before'), receipts[0]);
    assert.equal(await receiptOf('across'), receipts[1]);
  });

  it('the policy’s succession contradicts a receipt that leaves a handover out (control)', async () => {
    const receipt = JSON.parse(receipts[2]!) as { handovers: unknown[]; seal: { epoch: number } };
    receipt.handovers.pop();
    receipt.seal.epoch = 1;
    const report = await verifyReceiptText(JSON.stringify(receipt), JSON.parse(policy), { offline: true });
    assert.deepEqual(failing(report), ['policy', 'handovers']);
  });

  it('whose log is public: everybody’s policy has the same succession', async () => {
    const everybodys = (await api.get('/.well-known/kiff-policy.json')).text;
    assert.equal(everybodys, policy);
    assert.deepEqual(
      (JSON.parse(policy) as Policy).logs[0]!.succession?.map(({ epoch, signer }) => [epoch, signer]),
      signers.map((signer, index) => [index + 1, addressOf(signer)]),
    );
  });

  it('while a succession is not known in full there is no receipt behind it, and one before it', async () => {
    const hide = (signature: Buffer | null) =>
      plane.database.sql('UPDATE kiff.handovers SET accepted_signature = $2 WHERE epoch_to = 2 AND log_id = $1', [
        Buffer.from(log.tenant.logId.slice(2), 'hex'),
        signature,
      ]);
    const [row] = await plane.database.sql<{ accepted_signature: Buffer }>(
      'SELECT accepted_signature FROM kiff.handovers WHERE epoch_to = 2 AND log_id = $1',
      [Buffer.from(log.tenant.logId.slice(2), 'hex')],
    );
    await hide(null);
    const { status, json } = await api.get('/v1/records/after/receipt', log.tenant.apiKey);
    assert.equal(status, 503);
    assert.match(json.type, /unavailable$/);
    assert.equal((await api.get('/v1/records/across/receipt', log.tenant.apiKey)).status, 200);
    await hide(row!.accepted_signature);
    assert.equal(await receiptOf('after'), receipts[2]);
  });

  it('a certificate of the last succession verifies against the chain; one of a handover that was never accepted does not', async () => {
    const rpc = createHttpRpc(new URL((await anvil()).rpcUrl));
    const { origin, genesisSigner, registry, handovers } = JSON.parse(receipts[2]!) as Receipt;
    const { seq, period, treeSize, root, prev } = (JSON.parse(receipts[1]!) as Receipt).seal;
    const [old, heir] = signers as [LocalAccount, LocalAccount];
    const line = { origin, genesisSigner, registry, handovers };
    const made = await makeCertificate(line, heir, old, [{ seq, period, treeSize, root, prev }]);
    const report = await verifyCertificateText(JSON.stringify(made), JSON.parse(policy), { rpc });
    assert.deepEqual(
      report.checks.filter(({ status }) => status !== 'held'),
      [],
    );
    assert.ok(report.proved.some((sentence) => sentence.includes('finally')));

    const [first, last] = handovers as [AnchoredHandover, AnchoredHandover];
    const elsewhere = { ...made, handovers: [first, { ...last, accepted: first.accepted }] };
    const refuted = await verifyCertificateText(JSON.stringify(elsewhere), JSON.parse(policy), { rpc });
    assert.deepEqual(
      refuted.checks.filter(({ status }) => status === 'failed').map(({ name }) => name),
      ['anchor'],
    );
  });

  it('GET /v1/logs says who signs, since when, and who did before; seals say it each', async () => {
    const { json } = await api.get('/v1/logs', log.tenant.apiKey);
    const [first, second] = signers.map(addressOf);
    const { signer, epoch, custody, genesisSigner, succession, ownSigner } = json.logs[0];
    assert.deepEqual([signer, epoch, custody, genesisSigner], [second, 2, 1, log.tenant.genesisSigner]);
    assert.equal(ownSigner, null, 'this key is ours: there is no signer of the tenant’s to wait for');
    const seals = (await api.get('/v1/seals?limit=100', log.tenant.apiKey)).json.seals as {
      seq: number;
      epoch: number;
      signer: string;
    }[];
    assert.deepEqual(
      succession.map((each: { epoch: number; signer: string; custody: number }) => [
        each.epoch,
        each.signer,
        each.custody,
      ]),
      [
        [1, first, 2],
        [2, second, 1],
      ],
    );
    const signerAt = (seq: number) =>
      [...succession].toReversed().find((each: { afterSeq: number }) => seq > each.afterSeq) ?? {
        epoch: 0,
        signer: genesisSigner,
      };
    for (const seal of seals) {
      const expected = signerAt(seal.seq);
      assert.deepEqual([seal.epoch, seal.signer], [expected.epoch, expected.signer]);
    }
    assert.deepEqual(new Set(seals.map((seal) => seal.epoch)), new Set([0, 1, 2]));
  });
});
