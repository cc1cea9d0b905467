/** `kiff.custody/1` offline: what holds, and each thing that is not as it was signed, by the name of its check. */
import assert from 'node:assert/strict';
import type { LocalAccount } from 'viem';
import { privateKeyToAccount } from 'viem/accounts';
import type { Certificate } from '../../protocol/certificate.ts';
import type { Handover } from '../../protocol/eip712.ts';
import { handoverAcceptDigest, handoverAcceptHash, handoverDigest, handoverHash } from '../../protocol/handover.ts';
import type { Hex } from '../../protocol/hex.ts';
import { logId } from '../../protocol/logid.ts';
import type { AnchoredHandover } from '../../protocol/receipt.ts';
import { verifyCertificateText } from '../../protocol/verify-certificate.ts';
import { approvalBy, approvalDigest, authenticators, makeCertificate } from './certificate-factory.ts';

const key = (byte: string): LocalAccount => privateKeyToAccount(`0x${byte.repeat(32)}`);
const [genesis, first, second] = [key('11'), key('22'), key('33')];
const addressOf = ({ address }: LocalAccount): Hex => address.toLowerCase() as Hex;
const bytes32 = (byte: string): Hex => `0x${byte.repeat(32)}`;

const registry = { chainId: 31_337, contract: `0x${'ab'.repeat(20)}` } as const;
const origin = 'kiff.test/t/acme';
const genesisSigner = addressOf(genesis);
const id = logId(genesisSigner, origin);
const place = (blockNumber: number) => ({ txHash: bytes32('01'), blockNumber, blockHash: bytes32('02'), logIndex: 0 });

async function handedOver(epochTo: number, from: LocalAccount, to: LocalAccount): Promise<AnchoredHandover> {
  const due = { custody: 2, notBefore: 0, expiresAt: 2_000_000_000, nonce: bytes32(`0${epochTo}`) };
  const handover: Handover = { logId: id, epochTo, from: addressOf(from), to: addressOf(to), ...due };
  const accept = { logId: id, epochTo, handoverHash: handoverHash(handover), seq: 10 * epochTo, head: bytes32('0a') };
  const hash = handoverDigest(registry, handover);
  return {
    handover,
    fromSignature: await from.sign!({ hash }),
    toSignature: await to.sign!({ hash }),
    accept,
    acceptSignature: await to.sign!({ hash: handoverAcceptDigest(registry, accept) }),
    proposed: place(epochTo * 100),
    accepted: place(epochTo * 100 + 50),
  };
}

const seals = [8, 9].map((seq) => ({
  seq,
  period: 3600 * seq,
  treeSize: seq,
  root: bytes32('0b'),
  prev: bytes32('0c'),
}));

const policyOf = (more: object = {}) => ({
  format: 'kiff.policy/1',
  registry: { ...registry, codeHash: bytes32('0d'), fromBlock: 1, periodSeconds: 3600 },
  logs: [{ origin, genesisSigner, ...more }],
  require: [],
});

const verify = (given: object, policy: object | null = policyOf()) =>
  verifyCertificateText(JSON.stringify(given), policy, { offline: true });
const failing = async (given: object, policy?: object | null) =>
  (await verify(given, policy)).checks.filter(({ status }) => status === 'failed').map(({ name }) => name);

describe('a certificate of custody', () => {
  let certificate: Certificate;

  before(async () => {
    const handovers = [await handedOver(1, genesis, first), await handedOver(2, first, second)];
    certificate = await makeCertificate({ origin, genesisSigner, registry, handovers }, second, first, seals);
  });

  it('holds, offline, with every signature of its succession, and says what is the operator’s word', async () => {
    const report = await verify(certificate);
    assert.deepEqual(
      report.checks.map(({ name, status }) => [name, status]),
      [
        ...['format', 'policy', 'log id', 'handovers', 'proof', 'approvals', 'trial', 'old key'].map((name) => [
          name,
          'held',
        ]),
        ['anchor', 'waived'],
        ['finality', 'waived'],
      ],
    );
    assert.equal(report.ok, true);
    assert.ok(report.notProved.some((sentence) => sentence.includes("operator's own statement")));
    assert.ok(report.notProved.some((sentence) => sentence.includes('accepted the handover for good')));
  });

  it('a policy that knows the succession agrees, and one that knows another does not', async () => {
    const entry = { epoch: 2, signer: addressOf(second), afterSeq: 20 };
    assert.deepEqual(await failing(certificate, policyOf({ succession: [entry] })), []);
    assert.deepEqual(await failing(certificate, policyOf({ succession: [{ ...entry, afterSeq: 19 }] })), ['policy']);
    assert.deepEqual(await failing(certificate, policyOf({ genesisSigner: addressOf(second) })), ['policy']);
    assert.deepEqual(await failing(certificate, null), ['policy']);
  });

  const changes: [what: string, failed: string, change: (made: any) => unknown][] = [
    ['another origin', 'log id', (c) => (c.origin = 'kiff.test/t/other')],
    ['a handover left out', 'handovers', (c) => c.handovers.shift()],
    ['another custody', 'handovers', (c) => (c.handovers[1].handover.custody = 1)],
    ['another head at hand-over', 'handovers', (c) => (c.handovers[1].accept.head = bytes32('0f'))],
    [
      'the old key’s signature in the new one’s place',
      'handovers',
      (c) => (c.handovers[1].toSignature = c.handovers[1].fromSignature),
    ],
    ['a proof for another time', 'proof', (c) => c.proof.expiresAt++],
    ['an approval for another time', 'approvals', (c) => c.approvals.expiresAt++],
    ['one approval alone', 'approvals', (c) => c.approvals.passkeys.splice(1)],
    ['one passkey twice', 'approvals', (c) => c.approvals.passkeys.push(c.approvals.passkeys[0])],
    [
      'another passkey’s key',
      'approvals',
      (c) => (c.approvals.passkeys[0].publicKey = c.approvals.passkeys[1].publicKey),
    ],
    ['a trial signed by the old key', 'trial', (c) => (c.trial[0].seal.treeSize = 7)],
    ['a trial seal from behind the succession', 'trial', (c) => (c.trial[0].seal.seq = 21)],
    ['another old key', 'old key', (c) => (c.oldPublicKey = `0x${second.publicKey.slice(2)}`)],
    ['a member too many', 'format', (c) => (c.note = 'hello')],
    ['no handover at all', 'format', (c) => (c.handovers = [])],
  ];
  for (const [what, failed, change] of changes) {
    it(`${what}: "${failed}" fails`, async () => {
      const made = structuredClone(certificate) as any;
      change(made);
      assert.ok((await failing(made)).includes(failed as never));
    });
  }

  it('an approval’s every byte counts, whatever its algorithm; without a verified user, or of another kind, it is none', async () => {
    const digest = approvalDigest(certificate, 2_000_000_000);
    for (const [index] of certificate.approvals!.passkeys.entries()) {
      const made = structuredClone(certificate) as any;
      const { signature } = made.approvals.passkeys[index];
      made.approvals.passkeys[index].signature = `${signature.slice(0, -1)}${signature.endsWith('0') ? '1' : '0'}`;
      assert.deepEqual(await failing(made), ['approvals']);
    }
    for (const flags of [0x01, 0x04]) {
      const made = structuredClone(certificate) as any;
      made.approvals.passkeys[0] = approvalBy(authenticators.es256('four'), digest, flags);
      assert.deepEqual(await failing(made), ['approvals']);
    }
    const made = structuredClone(certificate) as any;
    made.approvals.passkeys[0] = approvalBy(
      authenticators.es256('five'),
      handoverAcceptHash(certificate.handovers[1]!.accept),
    );
    assert.deepEqual(await failing(made), ['approvals']);
  });

  it('what is withheld is waived, and said not to be proved', async () => {
    const bare = { ...certificate, approvals: null, proof: null, trial: [], oldPublicKey: null, operatorSays: null };
    const report = await verify(bare);
    assert.equal(report.ok, true);
    assert.deepEqual(
      report.checks.filter(({ status }) => status === 'waived').map(({ name }) => name),
      ['proof', 'approvals', 'trial', 'old key', 'anchor', 'finality'],
    );
  });
});
