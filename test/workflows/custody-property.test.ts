/**
 * Custody under everything at once: migrations with random vetoes, cancellations, absences of keys and of people, while blocks are taken back
 * and strangers submit whatever was signed. However it goes, each ends wholly old or wholly new, and its log goes on.
 */
import assert from 'node:assert/strict';
import { setTimeout as delay } from 'node:timers/promises';
import { createWalletClient, http, type Hex as ViemHex } from 'viem';
import { privateKeyToAccount } from 'viem/accounts';
import { registryAbi } from '../../contracts/registry.ts';
import { toHex } from '../../protocol/hex.ts';
import { custodyId } from '../../workflows/ids.ts';
import { createStage, type Company, type Stage } from '../custody/stage.ts';
import { dice, type Dice } from '../dice.ts';
import { chainSwitches } from '../weather/chain.ts';

const COMPANIES = 6;
const REORGS = 3;
/** anvil's second account: a published test key, of nobody whom the registry knows. */
const STRANGER = privateKeyToAccount('0x59c6995e998f97a5a0044966f0945389dc9e86dae88c7a8412f4603b6b78690d');

const STEPS = ['identify', 'authorise', 'prove', 'trial', 'hand-over', 'propose', 'cooling-off', 'accept'] as const;
const TROUBLES = ['veto', 'cancel', 'terminal', 'absent', 'leaves', 'alone', 'nothing'] as const;

describe('custody migrations under everything at once', function () {
  this.timeout(240_000);
  let stage: Stage;

  before(async function () {
    if (process.env['TEMPORAL_ADDRESS']) this.skip(); // then set-up provides no server of our own
    stage = await createStage();
  });
  after(() => stage?.stop());

  /** Submits what the keys have signed, whenever there is some, before our own wallet or after it. */
  async function strangers(over: AbortSignal): Promise<number> {
    const wallet = createWalletClient({ account: STRANGER, transport: http(stage.rpcUrl) });
    const { address } = stage.plane.registry;
    let sent = 0;
    while (!over.aborted) {
      const rows = await stage.plane.database.sql<{
        log_id: Buffer;
        epoch_to: number;
        from_signer: Buffer;
        to_signer: Buffer;
        custody: number;
        not_before: number;
        expires_at: number;
        nonce: Buffer;
        from_signature: Buffer | null;
        to_signature: Buffer;
        accept_signature: Buffer | null;
        cancel_signature: Buffer | null;
      }>('SELECT * FROM kiff.handovers WHERE lapsed_block IS NULL');
      for (const row of rows) {
        const handover = {
          logId: toHex(row.log_id),
          epochTo: row.epoch_to,
          from: toHex(row.from_signer),
          to: toHex(row.to_signer),
          custody: row.custody,
          notBefore: BigInt(row.not_before),
          expiresAt: BigInt(row.expires_at),
          nonce: toHex(row.nonce),
        };
        const { from_signature: from, accept_signature: accept, cancel_signature: cancel } = row;
        const calls = [
          from && (['proposeHandover', [handover, toHex(from), toHex(row.to_signature)]] as const),
          accept && (['acceptHandover', [handover, toHex(accept)]] as const),
          cancel && (['cancelHandover', [handover, toHex(cancel)]] as const),
        ];
        for (const call of calls) {
          if (!call) continue;
          const request = { address, abi: registryAbi, functionName: call[0], args: call[1], chain: null } as never;
          // What the contract refuses now is tried again later.
          const hash = await wallet.writeContract(request).catch((): ViemHex | null => null);
          if (hash !== null) sent++;
        }
      }
      await delay(300);
    }
    return sent;
  }

  /** One company's migration with one trouble at one step. @returns what became of it */
  async function migrate(company: Company, chance: Dice): Promise<string> {
    const trouble = chance.pick(TROUBLES);
    const at = chance.pick(STEPS);
    const custody = chance.chance(0.5) ? 1 : 2;
    const key = custody === 2 ? await company.key() : null;
    const { people, admins } = company;
    const migration = await people.start(admins[0], { custody, ...(key && { keyArn: key.arn }) });
    // Who waits for a step that never comes is told so when the migration has ended.
    const begun = company.reached(migration, at, 'begun').then(
      () => true,
      () => false,
    );
    await people.approve(admins[0], migration);
    if (trouble !== 'alone') await people.approve(admins[1], migration);
    if (await begun) {
      if (trouble === 'veto' || trouble === 'cancel') await people.veto(admins[1], migration, trouble);
      if (trouble === 'terminal') {
        const handle = stage.temporal.client.workflow.getHandle(custodyId(company.tenant.id));
        await handle.cancel().catch(() => undefined); // it may have ended
      }
      if (trouble === 'leaves') await people.leaves(admins[chance.below(2)]!);
      if (trouble === 'absent' && key !== null) {
        await key.revoke();
        await delay(chance.between(1, 5) * 1000);
        await key.allow();
      }
    }
    const { state, reason } = await people.answer(migration);
    const story = `custody ${custody}, ${trouble} at ${at}: ${state} ${reason}`;
    assert.equal(await company.disagreement(migration), null, story);
    await company.sealed(2);
    if (trouble === 'alone') assert.equal(reason, 'approvals-timed-out', story);
    if (trouble === 'nothing') assert.equal(state, 'done', story);
    return story;
  }

  it('each ends wholly old or wholly new, and its log goes on', async () => {
    const seed = Number(process.env['CUSTODY_SEED'] ?? Math.floor(Math.random() * 1e9));
    const over = new AbortController();
    const submitting = strangers(over.signal);
    const companies = await Promise.all(Array.from({ length: COMPANIES }, () => stage.company()));
    const running = companies.map((company, index) => migrate(company, dice(seed, `company ${index}`)));
    const chance = dice(seed, 'reorgs');
    const switches = chainSwitches(stage.rpcUrl);
    for (let count = 0; count < REORGS; count++) {
      await delay(chance.between(3_000, 8_000));
      await switches.reorg(chance.between(1, 2));
    }
    const ended = await Promise.allSettled(running);
    over.abort();
    const stories = ended.map((each) => (each.status === 'fulfilled' ? each.value : String(each.reason)));
    const report = `seed ${seed}, ${await submitting} submitted by strangers:\n  ${stories.join('\n  ')}`;
    assert.ok(
      ended.every(({ status }) => status === 'fulfilled'),
      report,
    );
  });
});
