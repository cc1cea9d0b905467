// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

// Past 10 KB because it is one immutable contract, whose rules are read together.

import {IERC1271} from '@openzeppelin/contracts/interfaces/IERC1271.sol';
import {ECDSA} from '@openzeppelin/contracts/utils/cryptography/ECDSA.sol';
import {EIP712} from '@openzeppelin/contracts/utils/cryptography/EIP712.sol';
import {ISealRegistry} from './ISealRegistry.sol';

/// @title The judge of KIFF logs
/// @notice Accepts, for every registered log, seal n+1 after seal n, once, from the log's current signer, and nothing
/// else. Nobody owns it, nothing upgrades, pauses or charges, and no rule depends on who sends a transaction: anybody
/// may submit what a signer has signed.
/// @dev EIP-712 domain {name: "KIFF Seal", version: "1", chainId, verifyingContract}. A log's `head` is the struct hash
/// of its last Seal or HandoverAccept, zero before both; the contract puts it into the next statement's digest as
/// `prev`, so a signature stands for exactly one place in one history. It stores no root: that a tree extends the one
/// before is checked by signers and verifiers (RFC 9162 consistency proofs), not here.
contract SealRegistry is ISealRegistry, EIP712 {
    /// @dev Four slots, so that a seal writes two and reads no more:
    /// 0 {signer, seq, period / PERIOD, treeSize} · 1 head · 2 {epoch, eta, expiresAt} · 3 the pending handover's hash.
    struct Log {
        address signer;
        uint24 seq;
        uint32 periodIndex;
        uint40 treeSize;
        bytes32 head;
        uint32 epoch;
        uint64 eta;
        uint64 expiresAt;
        bytes32 pending;
    }

    bytes32 private constant SEAL_TYPEHASH =
        keccak256('Seal(bytes32 logId,uint32 seq,uint64 period,uint48 treeSize,bytes32 root,bytes32 prev)');
    bytes32 private constant HANDOVER_TYPEHASH =
        keccak256(
            'Handover(bytes32 logId,uint32 epochTo,address from,address to,uint8 custody,uint64 notBefore,uint64 expiresAt,bytes32 nonce)'
        );
    bytes32 private constant HANDOVER_ACCEPT_TYPEHASH =
        keccak256('HandoverAccept(bytes32 logId,uint32 epochTo,bytes32 handoverHash,uint32 seq,bytes32 head)');
    bytes32 private constant HANDOVER_CANCEL_TYPEHASH =
        keccak256('HandoverCancel(bytes32 logId,uint32 epochTo,bytes32 handoverHash)');

    /// @dev What a contract signer may burn.
    uint256 private constant ERC1271_GAS = 120_000;
    /// @dev What the frame around it gets: 64/63 of that allowance (EIP-150 keeps one 64th back) plus its own work.
    uint256 private constant ERC1271_FRAME_GAS = 130_000;
    /// @dev And for every byte of signature, which the frame copies once (memory's quadratic part overtakes this only
    /// past 900 kB, more than a transaction carries).
    uint256 private constant ERC1271_FRAME_GAS_PER_BYTE = 2;

    /// @inheritdoc ISealRegistry
    uint32 public immutable PERIOD;
    /// @inheritdoc ISealRegistry
    uint32 public immutable COOLING_OFF;

    mapping(bytes32 logId => Log) private _logs;

    /// @inheritdoc ISealRegistry
    mapping(bytes32 handoverHash => bool) public cancelled;

    /// @param periodSeconds Length of a period; not zero.
    /// @param coolingOffSeconds Shortest time between a handover's proposal and its acceptance.
    constructor(uint32 periodSeconds, uint32 coolingOffSeconds) EIP712('KIFF Seal', '1') {
        if (periodSeconds == 0) revert ZeroPeriod();
        PERIOD = periodSeconds;
        COOLING_OFF = coolingOffSeconds;
    }

    /// @inheritdoc ISealRegistry
    function register(address genesisSigner, bytes32 originHash) external returns (bytes32 logId) {
        if (genesisSigner == address(0)) revert ZeroSigner();
        logId = logIdOf(genesisSigner, originHash);
        Log storage log = _logs[logId];
        if (log.signer == address(0)) {
            log.signer = genesisSigner;
            emit LogRegistered(logId, genesisSigner, originHash);
        }
    }

    /// @inheritdoc ISealRegistry
    function anchor(SealInput[] calldata items) external returns (Outcome[] memory outcomes) {
        outcomes = new Outcome[](items.length);
        for (uint256 i = 0; i < items.length; ++i) {
            SealInput calldata item = items[i];
            Outcome outcome = _seal(item);
            outcomes[i] = outcome;
            if (outcome > Outcome.Stale) emit SealRefused(item.logId, item.seq, outcome);
        }
    }

    /// @inheritdoc ISealRegistry
    function proposeHandover(
        Handover calldata handover,
        bytes calldata fromSignature,
        bytes calldata toSignature
    ) external {
        (Log storage log, bytes32 handoverHash) = _nextHandover(handover);
        if (handover.to == address(0) || handover.to == handover.from) revert BadSuccessor();
        if (log.pending != bytes32(0) && block.timestamp <= log.expiresAt) revert AlreadyPending();

        uint256 eta = block.timestamp + COOLING_OFF;
        if (eta < handover.notBefore) eta = handover.notBefore;
        if (eta >= handover.expiresAt) revert Expired();

        bytes32 digest = _hashTypedDataV4(handoverHash);
        _requireSignature(handover.from, digest, fromSignature);
        _requireSignature(handover.to, digest, toSignature);

        log.eta = uint64(eta); // fits: it is below expiresAt
        log.expiresAt = handover.expiresAt;
        log.pending = handoverHash;
        emit HandoverProposed(
            handover.logId,
            handover.epochTo,
            handoverHash,
            handover.from,
            handover.to,
            handover.custody,
            uint64(eta),
            handover.expiresAt
        );
    }

    /// @inheritdoc ISealRegistry
    function cancelHandover(Handover calldata handover, bytes calldata signature) external {
        (Log storage log, bytes32 handoverHash) = _nextHandover(handover);
        bytes32 digest = _hashTypedDataV4(
            keccak256(abi.encode(HANDOVER_CANCEL_TYPEHASH, handover.logId, handover.epochTo, handoverHash))
        );
        address by = handover.from;
        if (!_isSignature(by, digest, signature)) {
            by = handover.to;
            if (!_isSignature(by, digest, signature)) revert InvalidSignature(handover.from);
        }

        cancelled[handoverHash] = true;
        if (log.pending == handoverHash) _clearPending(log);
        emit HandoverCancelled(handover.logId, handover.epochTo, handoverHash, by);
    }

    /// @inheritdoc ISealRegistry
    function acceptHandover(Handover calldata handover, bytes calldata signature) external {
        (Log storage log, bytes32 handoverHash) = _nextHandover(handover);
        if (log.pending != handoverHash) revert NotPending();
        if (block.timestamp < log.eta) revert TooSoon();
        if (block.timestamp > log.expiresAt) revert Expired();

        uint32 seq = log.seq;
        bytes32 acceptHash = keccak256(
            abi.encode(HANDOVER_ACCEPT_TYPEHASH, handover.logId, handover.epochTo, handoverHash, seq, log.head)
        );
        _requireSignature(handover.to, _hashTypedDataV4(acceptHash), signature);

        log.signer = handover.to;
        log.epoch = handover.epochTo;
        log.head = acceptHash;
        _clearPending(log);
        emit HandoverAccepted(
            handover.logId,
            handover.epochTo,
            handoverHash,
            handover.from,
            handover.to,
            handover.custody,
            seq,
            acceptHash
        );
    }

    /// @inheritdoc ISealRegistry
    function logState(
        bytes32 logId
    )
        external
        view
        returns (address signer, uint32 epoch, uint32 seq, uint64 period, uint48 treeSize, bytes32 head)
    {
        Log storage log = _logs[logId];
        return (
            log.signer,
            log.epoch,
            log.seq,
            uint64(log.periodIndex) * PERIOD,
            log.treeSize,
            log.head
        );
    }

    /// @inheritdoc ISealRegistry
    function pendingHandover(
        bytes32 logId
    ) external view returns (bytes32 handoverHash, uint64 eta, uint64 expiresAt) {
        Log storage log = _logs[logId];
        return (log.pending, log.eta, log.expiresAt);
    }

    /// @inheritdoc ISealRegistry
    function isContractSignature(
        address account,
        bytes32 digest,
        bytes calldata signature
    ) external view returns (bool) {
        try IERC1271(account).isValidSignature{gas: ERC1271_GAS}(digest, signature) returns (bytes4 answer) {
            return answer == IERC1271.isValidSignature.selector;
        } catch {
            return false;
        }
    }

    /// @inheritdoc ISealRegistry
    function logIdOf(address genesisSigner, bytes32 originHash) public pure returns (bytes32) {
        return keccak256(abi.encode(genesisSigner, originHash));
    }

    /// @inheritdoc ISealRegistry
    function hashHandover(Handover calldata handover) public pure returns (bytes32) {
        return
            keccak256(
                abi.encode(
                    HANDOVER_TYPEHASH,
                    handover.logId,
                    handover.epochTo,
                    handover.from,
                    handover.to,
                    handover.custody,
                    handover.notBefore,
                    handover.expiresAt,
                    handover.nonce
                )
            );
    }

    /// @dev Judges one seal and, if it is good, makes it the log's head. Every bound is checked in 256 bits before a
    /// value is narrowed to its slot, so that nothing is ever truncated. Nothing here can exceed 2^65 either: unchecked,
    /// which saves 230 gas a seal.
    function _seal(SealInput calldata item) private returns (Outcome) {
        Log storage log = _logs[item.logId];
        address signer = log.signer;
        if (signer == address(0)) return Outcome.UnknownLog;

        unchecked {
            uint256 seq = item.seq;
            uint256 lastSeq = log.seq;
            if (seq != lastSeq + 1) return seq != 0 && seq <= lastSeq ? Outcome.Stale : Outcome.Gap;
            if (seq > type(uint24).max) return Outcome.Gap;

            uint256 periodIndex = item.period / PERIOD;
            if (periodIndex * PERIOD != item.period || periodIndex > type(uint32).max) return Outcome.BadPeriod;
            // A log's first seal names the period in which its tenant became active, which only its signer knows.
            if (lastSeq != 0 && periodIndex != uint256(log.periodIndex) + 1) return Outcome.BadPeriod;
            if (block.timestamp < (periodIndex + 1) * PERIOD) return Outcome.TooEarly;

            uint256 treeSize = item.treeSize;
            if (treeSize < log.treeSize || treeSize > type(uint40).max) return Outcome.BadTreeSize;

            bytes32 sealHash = keccak256(
                abi.encode(SEAL_TYPEHASH, item.logId, seq, item.period, treeSize, item.root, log.head)
            );
            if (!_isSignature(signer, _hashTypedDataV4(sealHash), item.signature)) return Outcome.BadSignature;

            log.seq = uint24(seq);
            log.periodIndex = uint32(periodIndex);
            log.treeSize = uint40(treeSize);
            log.head = sealHash;
            emit Sealed(item.logId, item.seq, item.period, item.treeSize, item.root, sealHash);
            return Outcome.Sealed;
        }
    }

    /// @dev What every step of a succession needs: a known log, its next epoch, its current signer, not cancelled.
    function _nextHandover(
        Handover calldata handover
    ) private view returns (Log storage log, bytes32 handoverHash) {
        log = _logs[handover.logId];
        if (log.signer == address(0)) revert UnknownLogId();
        if (handover.epochTo != uint256(log.epoch) + 1) revert NotNextEpoch();
        if (handover.from != log.signer) revert NotCurrentSigner();
        handoverHash = hashHandover(handover);
        if (cancelled[handoverHash]) revert CancelledBefore();
    }

    function _clearPending(Log storage log) private {
        log.eta = 0;
        log.expiresAt = 0;
        log.pending = bytes32(0);
    }

    function _requireSignature(address account, bytes32 digest, bytes calldata signature) private view {
        if (!_isSignature(account, digest, signature)) revert InvalidSignature(account);
    }

    /// @dev The key's own signature first: an EOA with an EIP-7702 delegation has code and still signs as a key. A
    /// contract is asked only then, always with the same gas, whatever the sender left: the verdict depends on the
    /// account and the statement, never on who submits it.
    function _isSignature(address account, bytes32 digest, bytes calldata signature) private view returns (bool) {
        (address recovered, ECDSA.RecoverError failure, ) = ECDSA.tryRecoverCalldata(digest, signature);
        if (failure == ECDSA.RecoverError.NoError && recovered == account) return true;
        if (account.code.length == 0) return false;

        bytes memory question = abi.encodeCall(this.isContractSignature, (account, digest, signature));
        uint256 frameGas = ERC1271_FRAME_GAS + ERC1271_FRAME_GAS_PER_BYTE * signature.length;
        // EIP-150 passes on at most 63/64 of what is left, silently less than asked for; 1,000 is for the call itself.
        if (gasleft() < (frameGas * 64) / 63 + 1_000) revert NotEnoughGas();
        (bool answered, bytes memory answer) = address(this).staticcall{gas: frameGas}(question);
        return answered && abi.decode(answer, (bool));
    }
}
