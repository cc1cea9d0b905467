/**
 * Certificates of custody in the conformance kit. Each that is refused differs from a good one in one thing; where that lies under a
 * signature, the signature is made anew. The successions are those of the kit's receipts. Long because it is a list.
 */
import { hashTypedData } from 'viem';
import type { Certificate, Hex, Policy, Seal } from '../protocol/index.ts';
import {
  accountOf,
  addressOf,
  bytesOf,
  domainOf,
  edited,
  makePolicy,
  makeReceipt,
  OPERATOR,
  ORIGIN,
  PERIOD,
  PERIOD_SECONDS,
  REGISTRY,
  signed,
  TYPES,
  type Mutable,
} from '../test/protocol/receipt-factory.ts';
import type { MadeCase } from './case.ts';
import { assertionOf, eddsa, es256, rs256, type AssertionOptions, type Passkey } from './passkeys.ts';

type Edit = (certificate: Mutable<Certificate>) => void | Promise<void>;

const SIGNERS = ['genesis', 'second', 'third'];
const EXPIRES_AT = PERIOD + 500_000;

const last = ({ handovers }: Pick<Certificate, 'handovers'>) => handovers.at(-1)!;
const text = (value: unknown): string => `${JSON.stringify(value, null, 1)}\n`;

function approval({ handovers }: Pick<Certificate, 'handovers'>) {
  const { logId, to: newSigner, custody, nonce } = last({ handovers }).handover;
  return { logId, newSigner, custody, nonce, expiresAt: EXPIRES_AT };
}

/** The challenge of an approval, by viem. */
function challengeOf(message: ReturnType<typeof approval>): Hex {
  return hashTypedData({
    domain: domainOf(REGISTRY),
    types: TYPES,
    primaryType: 'CustodyApproval',
    message: { ...message },
  });
}

async function proofBy(certificate: Pick<Certificate, 'handovers'>, name: string, changes: object = {}): Promise<Hex> {
  const { custody: _, ...message } = approval(certificate);
  return signed(accountOf(name), REGISTRY, 'CustodyProof', { ...message, ...changes });
}

async function trialBy(certificate: Pick<Certificate, 'handovers'>, name: string, seq: number) {
  const seal: Omit<Seal, 'logId'> = {
    seq,
    period: PERIOD - (20 - seq) * PERIOD_SECONDS,
    treeSize: 10 * seq,
    root: bytesOf(`root ${seq}`),
    prev: bytesOf(`seal ${seq - 1}`),
  };
  const { logId } = last(certificate).handover;
  return { seal, signature: await signed(accountOf(name), REGISTRY, 'Seal', { ...seal, logId }) };
}

/** A SubjectPublicKeyInfo on secp256k1 (RFC 5480, section 2). */
const publicKeyOf = (name: string): Hex =>
  `0x3056301006072a8648ce3d020106052b8104000a034200${accountOf(name).publicKey.slice(2)}`;

/** A certificate that holds in every check that needs no chain, of epoch 1 or 2. */
async function makeCertificate(epoch: number, passkeys: readonly Passkey[]): Promise<Certificate> {
  const { origin, genesisSigner, registry, handovers } = await makeReceipt({ epoch });
  const [heir, before] = [SIGNERS[epoch]!, last({ handovers }).accept.seq];
  const challenge = challengeOf(approval({ handovers }));
  return {
    format: 'kiff.custody/1',
    origin,
    genesisSigner,
    registry,
    handovers,
    approvals: { expiresAt: EXPIRES_AT, passkeys: passkeys.map((each) => assertionOf(each, challenge)) },
    proof: { expiresAt: EXPIRES_AT, signature: await proofBy({ handovers }, heir) },
    trial: [await trialBy({ handovers }, heir, before - 1), await trialBy({ handovers }, heir, before)],
    oldPublicKey: publicKeyOf(SIGNERS[epoch - 1]!),
    operatorSays: {
      startedAt: PERIOD - 300_000,
      approvedAt: passkeys.map((_, index) => PERIOD - 299_000 + index),
      oldKeyPolicyHash: bytesOf('policy'),
      oldKeyDisabled: { key: 'old-key', state: 'Disabled', refusedWith: 'DisabledException' },
    },
  };
}

function policyOf(succession: NonNullable<Policy['logs'][number]['succession']>): Policy {
  return makePolicy({ succession });
}

const entry = (epoch: number, name: string, afterSeq: number) => ({
  epoch,
  signer: addressOf(accountOf(name)),
  afterSeq,
});

export async function certificateCases(): Promise<MadeCase[]> {
  const [one, two] = [es256('one'), eddsa('two')];
  const first = await makeCertificate(1, [one, two]);
  const second = await makeCertificate(2, [one, two]);
  const challenge = challengeOf(approval(second));

  async function made(
    name: string,
    fails: readonly string[],
    why: string,
    edit: Edit = () => undefined,
    policy?: Policy | null,
  ): Promise<MadeCase> {
    const certificate = edited(second, () => undefined) as Mutable<Certificate>;
    await edit(certificate);
    const named = { name: `certificate-${name}`, kind: 'certificate', text: text(certificate), fails, why } as const;
    return policy === undefined ? named : { ...named, policy };
  }
  const approvalLike = (name: string, why: string, options: AssertionOptions): Promise<MadeCase> =>
    made(`approvals-${name}`, ['approvals'], why, (c) => {
      c.approvals!.passkeys[1] = assertionOf(two, challenge, options);
    });
  const misspelt = (name: string, why: string, edit: (source: string) => string): MadeCase => ({
    name: `certificate-format-${name}`,
    kind: 'certificate',
    text: edit(text(second)),
    fails: ['format'],
    why,
  });

  const accepted: MadeCase[] = [
    { name: 'certificate-epoch-1', kind: 'certificate', text: text(first), fails: [], why: 'the first succession' },
    await made('epoch-2', [], 'the second succession, with the first before it'),
    await made('withheld', [], 'nothing but the succession itself is given', (c) => {
      Object.assign(c, { approvals: null, proof: null, trial: [], oldPublicKey: null, operatorSays: null });
    }),
    await made('operator-says-less', [], 'the old key was not the operator’s to disable', (c) => {
      Object.assign(c.operatorSays!, { oldKeyPolicyHash: null, oldKeyDisabled: null });
    }),
    await made('rs256', [], 'a passkey that signs with RSA', (c) => {
      c.approvals!.passkeys[1] = assertionOf(rs256('three'), challenge);
    }),
    await made('es256-high-s', [], 'a passkey’s signature may have a high s', (c) => {
      c.approvals!.passkeys[0] = assertionOf(es256('one', 'high'), challenge);
    }),
    await made('flags', [], 'flags beyond present and verified prove nothing and hinder nothing', (c) => {
      c.approvals!.passkeys[0] = assertionOf(one, challenge, { flags: 0x1d });
    }),
    await made(
      'succession',
      [],
      'a policy that knows every signer, and one after them',
      undefined,
      policyOf([entry(0, 'genesis', 0), entry(1, 'second', 5), entry(2, 'third', 9), entry(3, 'fourth', 20)]),
    ),
  ];

  const policies: MadeCase[] = await Promise.all([
    made('policy-none', ['policy'], 'no policy', undefined, null),
    made(
      'policy-other-genesis',
      ['policy'],
      'the policy knows another key’s log under this origin',
      undefined,
      makePolicy({ genesisSigner: addressOf(accountOf('mallory')) }),
    ),
    made('policy-other-contract', ['policy'], 'the policy knows another contract', undefined, {
      ...makePolicy(),
      registry: { ...makePolicy().registry, contract: `0x${'d0'.repeat(20)}` },
    }),
    made(
      'policy-other-successor',
      ['policy'],
      'the policy knows another successor',
      undefined,
      policyOf([entry(2, 'mallory', 9)]),
    ),
    made(
      'policy-other-seq',
      ['policy'],
      'by the policy the log passed on earlier',
      undefined,
      policyOf([entry(2, 'third', 8)]),
    ),
    made(
      'policy-requires-anchor',
      ['anchor'],
      'the policy requires what cannot be done offline',
      undefined,
      makePolicy({ require: ['anchor'] }),
    ),
  ]);

  const succession: MadeCase[] = await Promise.all([
    made(
      'log-id-other-origin',
      ['log id'],
      'handovers of the log of another origin',
      (c) => void (c.origin = 'kiff.dev/t/other'),
      {
        ...makePolicy(),
        logs: [
          { origin: 'kiff.dev/t/other', genesisSigner: second.genesisSigner, checkpointKeys: [OPERATOR.publicKey] },
        ],
      },
    ),
    made('handovers-missing', ['handovers'], 'the first succession is missing', (c) => void c.handovers.shift()),
    made(
      'handovers-time',
      ['handovers'],
      'a handover that was changed',
      (c) => void c.handovers[1]!.handover.expiresAt++,
    ),
    made('handovers-head', ['handovers'], 'an acceptance that was changed', (c) => {
      c.handovers[1]!.accept.head = bytesOf('another');
    }),
    made('handovers-from-signature', ['handovers'], 'the old key did not sign', (c) => {
      c.handovers[1]!.fromSignature = c.handovers[1]!.toSignature;
    }),
    made('handovers-accept-signature', ['handovers'], 'the old key accepted', async (c) => {
      c.handovers[1]!.acceptSignature = await signed(
        accountOf('second'),
        REGISTRY,
        'HandoverAccept',
        c.handovers[1]!.accept,
      );
    }),
  ]);

  const evidence: MadeCase[] = await Promise.all([
    made('proof-old-key', ['proof'], 'the old key’s proof', async (c) => {
      c.proof!.signature = await proofBy(c, 'second');
    }),
    made('proof-time', ['proof'], 'a proof that was changed', (c) => void c.proof!.expiresAt++),
    made('proof-other-nonce', ['proof'], 'a proof for another handover', async (c) => {
      c.proof!.signature = await proofBy(c, 'third', { nonce: bytesOf('nonce 1') });
    }),
    made('proof-v-0', ['proof'], 'a recovery id in place of v', (c) => {
      const { signature } = c.proof!;
      c.proof!.signature = `${signature.slice(0, -2)}${signature.endsWith('1b') ? '00' : '01'}` as Hex;
    }),
    made('approvals-one', ['approvals'], 'one passkey alone', (c) => void c.approvals!.passkeys.pop()),
    made('approvals-none', ['approvals'], 'no passkey at all', (c) => void (c.approvals!.passkeys = [])),
    made('approvals-same-key', ['approvals'], 'one passkey under two names', (c) => {
      c.approvals!.passkeys[1] = { ...c.approvals!.passkeys[0]!, credentialId: 'another' };
    }),
    made('approvals-same-id', ['approvals'], 'two keys under one passkey’s name', (c) => {
      c.approvals!.passkeys[1]!.credentialId = c.approvals!.passkeys[0]!.credentialId;
    }),
    made('approvals-time', ['approvals'], 'approvals of another time', (c) => void c.approvals!.expiresAt++),
    made('approvals-other-signer', ['approvals'], 'an approval of another new signer', (c) => {
      const other = { ...approval(c), newSigner: addressOf(accountOf('mallory')) };
      c.approvals!.passkeys[1] = assertionOf(two, challengeOf(other));
    }),
    made('approvals-other-custody', ['approvals'], 'an approval of another custody', (c) => {
      c.approvals!.passkeys[1] = assertionOf(two, challengeOf({ ...approval(c), custody: 3 }));
    }),
    made('approvals-signature', ['approvals'], 'another passkey’s signature', (c) => {
      c.approvals!.passkeys[1]!.signature = assertionOf(eddsa('mallory'), challenge).signature;
    }),
    made('approvals-rs256-signature', ['approvals'], 'an RSA signature of another assertion', (c) => {
      const three = rs256('three');
      const other = assertionOf(three, challengeOf({ ...approval(c), custody: 3 }));
      c.approvals!.passkeys[1] = { ...assertionOf(three, challenge), signature: other.signature };
    }),
    made('approvals-algorithm', ['approvals'], 'a key of an algorithm that is none of the three', (c) => {
      const { publicKey } = c.approvals!.passkeys[0]!;
      c.approvals!.passkeys[0]!.publicKey = publicKey.replace('0xa501020326', '0xa501020325') as Hex;
    }),
    made('approvals-key-trailing', ['approvals'], 'a byte behind the key', (c) => {
      c.approvals!.passkeys[0]!.publicKey = `${c.approvals!.passkeys[0]!.publicKey}00`;
    }),
    approvalLike('unverified', 'the user was present and not verified', { flags: 0x01 }),
    approvalLike('absent', 'the user was verified and not present', { flags: 0x04 }),
    approvalLike('registration', 'what a passkey says when it is registered', { type: 'webauthn.create' }),
    approvalLike('short', 'authenticator data without its last byte', { length: 36 }),
    made('trial-old-key', ['trial'], 'a trial seal by the old key', async (c) => {
      c.trial[1] = await trialBy(c, 'second', 9);
    }),
    made('trial-beyond', ['trial'], 'a trial seal from behind the succession', async (c) => {
      c.trial[1] = await trialBy(c, 'third', 10);
    }),
    made('trial-twice', ['trial'], 'one trial seal twice', (c) => void (c.trial[1] = c.trial[0]!)),
    made('trial-changed', ['trial'], 'a trial seal that was changed', (c) => void c.trial[0]!.seal.treeSize++),
    made(
      'old-key-other',
      ['old key'],
      'the new signer’s public key',
      (c) => void (c.oldPublicKey = publicKeyOf('third')),
    ),
  ]);

  return [
    ...accepted,
    ...policies,
    ...succession,
    ...evidence,
    await made('format-no-handover', ['format'], 'no succession at all', (c) => void (c.handovers = [])),
    misspelt('member-unknown', 'a member too many', (source) => source.replace('{', '{\n "note": "",')),
    misspelt('member-missing', 'a member is missing', (source) => source.replace(/ "oldPublicKey": .*\n/, '')),
    misspelt('name-twice', 'two members of one name', (source) => source.replace('{', `{\n "origin": "${ORIGIN}",`)),
    misspelt('other-version', 'a version that there is not', (source) => source.replace('custody/1', 'custody/2')),
    misspelt('upper-case-hex', 'hex in upper case', (source) =>
      source.replace(/"oldPublicKey": "0x(\w+)"/, (_, digits: string) => `"oldPublicKey": "0x${digits.toUpperCase()}"`),
    ),
    misspelt('odd-hex', 'half a byte', (source) => source.replace(/("authenticatorData": "0x\w+)\w"/, '$1"')),
  ];
}
