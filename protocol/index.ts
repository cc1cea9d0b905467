/**
 * What `protocol/` offers to everybody: the same code verifies in a browser, in the CLI and in the server. Hashes, keys
 * and signatures cross this border as lower-case 0x hex.
 */
export { fromHex, toHex, type Hex } from './hex.ts';
export { decodeUtf8Strict, JsonError, scanJson, type JsonFault } from './json.ts';

// The log: entries, proofs, checkpoints, promises.
export { commit, encodeBody, encodeEntry, leafHash, parseBody, parseEntry, type Body, type Entry } from './entry.ts';
export { verifyConsistency, verifyInclusion, type ConsistencyClaim, type InclusionClaim } from './proof.ts';
export {
  checkpointText,
  parseCheckpoint,
  signedNote,
  verifierKey,
  verifyCheckpoint,
  type Checkpoint,
  type CheckpointHead,
  type CheckpointSigner,
} from './note.ts';
export {
  parsePublishedCheckpoint,
  publishedCheckpoint,
  sealIsSigned,
  type LogNames,
  type PublishedCheckpoint,
} from './seal-line.ts';
export { bundlePath, decodeBundle, encodeBundle, parseIndexPath, tilePath } from './tlog-tiles.ts';
export { encodeTlogProof, parseTlogProof, tlogProofOf, type TlogProof } from './tlog-proof.ts';
export { TLOG_PROOF_CHECK_NAMES, verifyTlogProofText, type TlogProofCheckName } from './verify-tlog-proof.ts';
export {
  parsePromise,
  parsePromiseText,
  promiseBytes,
  verifyPromise,
  type PromiseTerms,
  type SealPromise,
} from './promise.ts';
export {
  END_REASONS,
  endText,
  parseEnd,
  placeAtEnd,
  relatePlaces,
  verifyEnd,
  type EndReason,
  type EndStatement,
  type LastSeal,
  type PlaceAtEnd,
  type PlaceInLog,
} from './ending.ts';
export { periodAt, periodEnd, periodOf, sealBy } from './period.ts';

// What keys sign: seals and successions.
export {
  CUSTODY_APPROVAL,
  CUSTODY_PROOF,
  domainSeparator,
  hashStruct,
  typedDigest,
  type CustodyApproval,
  type CustodyProof,
  type Handover,
  type HandoverAccept,
  type HandoverCancel,
  type Registry,
  type Seal,
} from './eip712.ts';
export { logId, originHash } from './logid.ts';
export { NO_HEAD, sealDigest, sealHash } from './seal.ts';
export {
  handoverAcceptDigest,
  handoverAcceptHash,
  handoverCancelDigest,
  handoverCancelHash,
  handoverDigest,
  handoverFault,
  handoverHash,
  type SignedHandover,
  type Succession,
} from './handover.ts';
export {
  addressOfPublicKey,
  normalizeSignature,
  parseDerSignature,
  parseSignature,
  recoverSigner,
  SignatureError,
  type SignatureFault,
} from './signature.ts';

// Receipts and policies, and their verification.
export { FormatError, NotJsonError } from './shape.ts';
export {
  parseReceipt,
  parseReceiptText,
  type AnchoredHandover,
  type ChainPosition,
  type Receipt,
  type SignedSeal,
} from './receipt.ts';
export { parsePolicy, parsePolicyText, type Policy, type PolicyLog, type SuccessionEntry } from './policy.ts';
export { CHECK_NAMES, type Check, type CheckName, type CheckStatus } from './checks.ts';
export { RpcRefused, RpcTooLarge, RpcUnreachable, type Rpc } from './rpc.ts';
export type { Report } from './report.ts';
export { verifyReceipt, verifyReceiptText, type Verification, type VerifyOptions } from './verify.ts';
export {
  PROMISE_CHECK_NAMES,
  verifyPromiseText,
  type PromiseCheckName,
  type PromiseOptions,
} from './verify-promise.ts';
export { END_CHECK_NAMES, verifyEndText, type EndCheckName, type EndOptions } from './verify-end.ts';
export {
  buildCertificate,
  looksLikeCertificate,
  parseCertificateText,
  type Certificate,
  type OperatorSays,
  type PasskeyApproval,
  type TrialSeal,
} from './certificate.ts';
export { CERTIFICATE_CHECK_NAMES, verifyCertificateText, type CertificateCheckName } from './verify-certificate.ts';

// Whole logs: bundles, and what a chain says of a log.
export {
  BUNDLE_HEAD,
  type BundleBase,
  type BundleEnd,
  type BundleEntry,
  type BundleHandover,
  type BundleHeader,
  type BundleLine,
  type BundleSeal,
  type BundleTrailer,
} from './bundle.ts';
export { BUNDLE_CHECK_NAMES, type BundleCheckName, type Finding, type FindingKind } from './bundle-findings.ts';
export { verifyBundle, type BundleOptions, type BundleReport } from './verify-bundle.ts';
export { LOG_CHECK_NAMES, verifyLog, type ExpectedSeal, type LogCheckName, type LogReport } from './verify-log.ts';

// The log as it is published and as the chain has it: what a monitor needs.
export { blockTimes, readChainRecord, unsealed, type ChainRecord } from './chain-record.ts';
export { CheckFailed } from './checks.ts';
export { eventsBetween, isBefore, type EventPlace } from './log-history.ts';
export {
  decodeHandoverCancelled,
  decodeHandoverProposed,
  HANDOVER_CANCELLED_TOPIC,
  HANDOVER_PROPOSED_TOPIC,
  type HandoverProposedEvent,
  type LogState,
} from './registry.ts';
export { consistencyProof } from './proof.ts';
export { createChainReader, RpcMalformed, type ChainReader, type Log } from './rpc.ts';
export { consistencyNodes, rootNodes } from './subtree.ts';
export { rootFromTiles, TILE_WIDTH, TileError, TileSet, tilesForNodes, type Tile, type TileRef } from './tile.ts';
