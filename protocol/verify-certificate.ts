/** Verifies `kiff.custody/1`: each check in order, offline or against a chain, and what is the operator's word is told as that. */
import { parseCertificateText, type Certificate } from './certificate.ts';
import { checkAcceptanceFinal, checkLine } from './chain.ts';
import { CheckFailed, held, type Check, type Outcome } from './checks.ts';
import { CUSTODY_APPROVAL, CUSTODY_PROOF, hashStruct, typedDigest } from './eip712.ts';
import { handoverAcceptHash, handoverFault } from './handover.ts';
import { fromHex, type Hex } from './hex.ts';
import { logId } from './logid.ts';
import { assertionFault, samePasskey } from './passkey.ts';
import { policyLogOf } from './policy-check.ts';
import { parsePolicy, type Policy } from './policy.ts';
import { passes, unreadReport, type Report } from './report.ts';
import { createChainReader, RpcMalformed, RpcRefused, RpcUnreachable } from './rpc.ts';
import { sealDigest } from './seal.ts';
import { FormatError } from './shape.ts';
import { addressOfPublicKey, recoverSigner, SignatureError } from './signature.ts';
import type { VerifyOptions } from './verify.ts';

/** In order. Names are stable, as those of a receipt's checks. */
export const CERTIFICATE_CHECK_NAMES = [
  'format',
  'policy',
  'log id',
  'handovers',
  'proof',
  'approvals',
  'trial',
  'old key',
  'anchor',
  'finality',
] as const;

export type CertificateCheckName = (typeof CERTIFICATE_CHECK_NAMES)[number];

/** The succession that a certificate is about; a parsed one has at least one. */
const lastOf = ({ handovers }: Certificate) => handovers.at(-1)!;

function checkPolicy(certificate: Certificate, policy: Policy | null, trusted: boolean): Outcome {
  if (policy === null) {
    if (!trusted) throw new CheckFailed('there is no policy to say whose log this is');
    return { status: 'waived', detail: 'the certificate itself is trusted to name the right log and contract' };
  }
  const { registry, origin } = certificate;
  if (registry.chainId !== policy.registry.chainId || registry.contract !== policy.registry.contract) {
    throw new CheckFailed("the certificate's contract or chain is not the policy's");
  }
  const log = policyLogOf(policy, certificate);
  if (log === undefined) throw new CheckFailed(`the policy does not know ${origin} with this genesis signer`);
  for (const { epoch, signer, afterSeq } of log.succession ?? []) {
    const item = certificate.handovers[epoch - 1];
    if (item !== undefined && (item.handover.to !== signer || item.accept.seq !== afterSeq)) {
      throw new CheckFailed(
        `by the policy epoch ${epoch} is ${signer}'s after seq ${afterSeq}; the certificate contradicts that`,
      );
    }
  }
  return held(`the policy knows ${origin} with genesis signer ${certificate.genesisSigner}`);
}

function checkLogId({ origin, genesisSigner, handovers }: Certificate): Outcome {
  const id = logId(genesisSigner, origin);
  if (handovers.some(({ handover }) => handover.logId !== id)) {
    throw new CheckFailed('a handover is of another log than that of this origin and genesis signer');
  }
  return held(`the log id is that of ${origin} with genesis signer ${genesisSigner}`);
}

/** The line of signers, judged as a receipt's: by a seal of the last one, which is only imagined. */
function checkHandovers({ registry, genesisSigner, handovers }: Certificate): Outcome {
  const { handover, accept } = lastOf({ handovers } as Certificate);
  const next = { logId: handover.logId, seq: accept.seq + 1, period: 0, treeSize: 0, root: handover.nonce };
  const seal = { ...next, prev: handoverAcceptHash(accept), signer: handover.to, epoch: handovers.length };
  const fault = handoverFault({ registry, genesisSigner, seal, handovers });
  if (fault !== undefined) throw new CheckFailed(fault);
  return held(`${handover.from} and ${handover.to} signed that the log passes on after seal ${accept.seq}`);
}

function recovered(digest: Hex, signature: Hex): Hex | undefined {
  try {
    return recoverSigner(digest, signature);
  } catch (error) {
    if (error instanceof SignatureError) return undefined;
    throw error;
  }
}

function checkProof(certificate: Certificate): Outcome {
  const { proof, registry } = certificate;
  if (proof === null) return { status: 'waived', detail: 'no proof of possession was given' };
  const { logId: id, to: newSigner, nonce } = lastOf(certificate).handover;
  const statement = { logId: id, newSigner, nonce, expiresAt: proof.expiresAt };
  const digest = typedDigest(registry, hashStruct(CUSTODY_PROOF, statement));
  if (recovered(digest, proof.signature) !== newSigner) {
    throw new CheckFailed('the proof of possession is not signed by the new signer');
  }
  return held(`${newSigner} proved that it holds its key`);
}

function checkApprovals(certificate: Certificate): Outcome {
  const { approvals, registry } = certificate;
  if (approvals === null) return { status: 'waived', detail: 'no approvals were given' };
  const { logId: id, to: newSigner, custody, nonce } = lastOf(certificate).handover;
  const statement = { logId: id, newSigner, custody, nonce, expiresAt: approvals.expiresAt };
  const digest = typedDigest(registry, hashStruct(CUSTODY_APPROVAL, statement));
  for (const [index, approval] of approvals.passkeys.entries()) {
    const fault = assertionFault(approval, digest);
    if (fault !== undefined) throw new CheckFailed(`approval ${index + 1}: ${fault}`);
    if (approvals.passkeys.slice(0, index).some((other) => samePasskey(other, approval))) {
      throw new CheckFailed(`approval ${index + 1} is by a passkey that approved already`);
    }
  }
  if (approvals.passkeys.length < 2) throw new CheckFailed('two different passkeys have to approve');
  return held(`${approvals.passkeys.length} passkeys approved that ${newSigner} becomes the signer`);
}

function checkTrial(certificate: Certificate): Outcome {
  const { trial, registry } = certificate;
  if (trial.length === 0) return { status: 'waived', detail: 'no trial seals were given' };
  const { handover, accept } = lastOf(certificate);
  for (const { seal, signature } of trial) {
    const digest = sealDigest(registry, { ...seal, logId: handover.logId });
    if (recovered(digest, signature) !== handover.to) {
      throw new CheckFailed(`trial seal ${seal.seq} is not signed by the new signer`);
    }
    if (seal.seq > accept.seq) throw new CheckFailed(`trial seal ${seal.seq} is no seal from before the succession`);
  }
  if (new Set(trial.map(({ seal }) => seal.seq)).size < trial.length)
    throw new CheckFailed('a trial seal is there twice');
  return held(`the new signer signed ${trial.length} seals on trial`);
}

function checkOldKey(certificate: Certificate): Outcome {
  const { oldPublicKey, operatorSays } = certificate;
  if (oldPublicKey === null) return { status: 'waived', detail: "the old signer's public key is not given" };
  const { from } = lastOf(certificate).handover;
  if (addressOf(fromHex(oldPublicKey)) !== from) throw new CheckFailed('the public key is not that of the old signer');
  const disabled = operatorSays?.oldKeyDisabled;
  return held(
    disabled == null
      ? `the public key is that of the old signer ${from}`
      : `the public key is that of the old signer ${from}; that KMS now says ${disabled.state} of it is the operator's own statement`,
  );
}

/** Of a SubjectPublicKeyInfo: it ends with the uncompressed point. */
function addressOf(info: Uint8Array): Hex | undefined {
  try {
    return addressOfPublicKey(info.subarray(-65));
  } catch {
    return undefined;
  }
}

/** Runs one check and turns what it throws into its outcome. What is none of these is a bug and goes on. */
async function outcomeOf(check: () => Outcome | Promise<Outcome>): Promise<Outcome & { unreachable?: true }> {
  try {
    return await check();
  } catch (error) {
    if (error instanceof RpcUnreachable) {
      return { status: 'not-run', detail: `the RPC is unreachable: ${error.message}`, unreachable: true };
    }
    if (error instanceof CheckFailed || error instanceof RpcMalformed || error instanceof RpcRefused) {
      return { status: 'failed', detail: error.message };
    }
    throw error;
  }
}

function told(certificate: Certificate, checks: readonly Check<CertificateCheckName>[]) {
  const has = (...names: CertificateCheckName[]): boolean =>
    names.every((name) => checks.some((check) => check.name === name && check.status === 'held'));
  const { handover, accept } = lastOf(certificate);
  const { origin, registry } = certificate;
  const proved: string[] = [];
  const notProved: string[] = [];
  if (has('log id', 'handovers')) {
    proved.push(`Both keys signed: ${origin} passes from ${handover.from} to ${handover.to} after seal ${accept.seq}.`);
  }
  const where = `the contract ${registry.contract} on chain ${registry.chainId}`;
  if (has('log id', 'handovers', 'anchor', 'finality')) {
    proved.push(
      `Since block ${lastOf(certificate).accepted.blockNumber} ${where} takes no seal of ${handover.from} any more, finally.`,
    );
  } else {
    notProved.push(`That ${where} accepted the handover for good.`);
  }
  if (has('approvals'))
    proved.push('Two different passkeys, each with its user verified, approved exactly this new signer.');
  if (certificate.approvals !== null)
    notProved.push("Whose passkeys they are: that they are two admins' is the operator's word.");
  if (certificate.operatorSays?.oldKeyDisabled != null) {
    notProved.push(
      "That the old key is disabled: it is the operator's own statement. The contract does not depend on it.",
    );
  }
  if (!has('policy')) notProved.push('That this log is the one of the organisation that its origin names.');
  notProved.push("Who holds the signing keys: custody is the signers' own claim.");
  return { proved, notProved };
}

/**
 * Verifies a certificate's text against a parsed policy (null for none). It reports; what it throws besides NotJsonError is a bug.
 * @throws NotJsonError when the text is not JSON at all
 */
export async function verifyCertificateText(
  source: string,
  policyValue: unknown,
  { rpc, offline, trustReceipt }: VerifyOptions = {},
): Promise<Report<CertificateCheckName>> {
  let certificate: Certificate;
  try {
    certificate = parseCertificateText(source);
  } catch (error) {
    if (!(error instanceof FormatError)) throw error;
    return unreadReport(CERTIFICATE_CHECK_NAMES, 'a certificate', error.message);
  }
  let policy: Policy | null = null;
  let unusable: string | undefined;
  try {
    policy = policyValue == null ? null : parsePolicy(policyValue);
  } catch (error) {
    if (!(error instanceof FormatError)) throw error;
    unusable = `the policy is unusable: ${error.message}`;
  }
  const chain = offline === true || rpc === undefined ? undefined : createChainReader(rpc);
  const checks: Check<CertificateCheckName>[] = [];
  let rpcUnreachable = false;
  const run = async (name: CertificateCheckName, check: () => Outcome | Promise<Outcome>): Promise<void> => {
    const { unreachable, ...outcome } = await outcomeOf(check);
    rpcUnreachable ||= unreachable === true;
    const forbidden = outcome.status === 'waived' && (policy?.require as readonly string[] | undefined)?.includes(name);
    checks.push(
      forbidden === true
        ? { name, status: 'failed', detail: `the policy requires this check, but ${outcome.detail}` }
        : { name, ...outcome },
    );
  };
  const unasked = { status: 'waived', detail: 'no chain was asked' } as const;
  const { accepted } = lastOf(certificate);

  await run('format', () => held(certificate.format));
  await run('policy', () => {
    if (unusable !== undefined) throw new CheckFailed(unusable);
    return checkPolicy(certificate, policy, trustReceipt === true);
  });
  await run('log id', () => checkLogId(certificate));
  await run('handovers', () => checkHandovers(certificate));
  await run('proof', () => checkProof(certificate));
  await run('approvals', () => checkApprovals(certificate));
  await run('trial', () => checkTrial(certificate));
  await run('old key', () => checkOldKey(certificate));
  await run('anchor', async () => {
    if (chain === undefined) return unasked;
    const { registry, handovers } = certificate;
    await checkLine(chain, { registry, handovers, after: null }, policy, accepted.blockNumber);
    return held(`the contract accepted the handover in block ${accepted.blockNumber}`);
  });
  await run('finality', async () => {
    if (chain === undefined) return unasked;
    const { number } = await checkAcceptanceFinal(chain, certificate, lastOf(certificate));
    return held(`block ${accepted.blockNumber} is final: the finalized block is ${number}`);
  });
  return { ok: passes(checks), checks, ...told(certificate, checks), rpcUnreachable };
}
