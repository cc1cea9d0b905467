// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

// Past 10 KB because it documents everything public, in one place: statements, outcomes, events, errors, functions.

/// @title What SealRegistry offers
/// @notice The statements it takes, what it makes of them, and what it says of a log. See SealRegistry for the rules.
interface ISealRegistry {
    /// @notice What became of one item of a batch.
    /// @dev Rules are tried in this order after Sealed; the first one broken is the outcome.
    /// - Sealed: it stands, and is the log's new head.
    /// - Stale: a seal with this seq stands already (this one or another); skipped without an event.
    /// - UnknownLog: the log was never registered.
    /// - Gap: seq is not the next one, is zero, or is past 2^24 - 1, the last that a log can hold.
    /// - BadPeriod: not a multiple of PERIOD, not exactly PERIOD after the last seal's, or past 2^32 - 1 periods.
    /// - TooEarly: the period is not over yet.
    /// - BadTreeSize: smaller than the last seal's, or past 2^40 - 1.
    /// - BadSignature: not the current signer's over this statement on top of the log's head.
    enum Outcome {
        Sealed,
        Stale,
        UnknownLog,
        Gap,
        BadPeriod,
        TooEarly,
        BadTreeSize,
        BadSignature
    }

    /// @notice One signed Seal(bytes32 logId,uint32 seq,uint64 period,uint48 treeSize,bytes32 root,bytes32 prev).
    /// @dev `prev` is not given: it is the log's head. `period` is the sealed period's first second (Unix time).
    struct SealInput {
        bytes32 logId;
        uint32 seq;
        uint64 period;
        uint48 treeSize;
        bytes32 root;
        bytes signature;
    }

    /// @notice The succession of a log's signer, signed by both keys.
    /// @dev `custody` is the signers' own claim (1 cloud, 2 tenant-kms, 3 tenant-agent) and is not judged. `expiresAt`
    /// is the last second at which the handover may be accepted.
    struct Handover {
        bytes32 logId;
        uint32 epochTo;
        address from;
        address to;
        uint8 custody;
        uint64 notBefore;
        uint64 expiresAt;
        bytes32 nonce;
    }

    /// @notice A log exists from here on: its id, and the two values that the id commits to.
    event LogRegistered(bytes32 indexed logId, address indexed genesisSigner, bytes32 indexed originHash);

    /// @notice A seal stands. `sealHash` is its struct hash and the log's new head.
    event Sealed(
        bytes32 indexed logId,
        uint32 indexed seq,
        uint64 period,
        uint48 treeSize,
        bytes32 root,
        bytes32 sealHash
    );

    /// @notice An item was refused: a diagnosis for its sender, which anybody can provoke and which says nothing about
    /// the log.
    event SealRefused(bytes32 indexed logId, uint32 indexed seq, Outcome outcome);

    /// @notice A handover signed by both keys waits until `eta` and may be accepted up to and including `expiresAt`.
    event HandoverProposed(
        bytes32 indexed logId,
        uint32 indexed epochTo,
        bytes32 indexed handoverHash,
        address from,
        address to,
        uint8 custody,
        uint64 eta,
        uint64 expiresAt
    );

    /// @notice The handover with this hash can never be accepted. `by` is the key that signed the cancellation.
    /// @dev Whoever is named as `to` may cancel a handover that nobody ever proposed: match on `handoverHash`.
    event HandoverCancelled(
        bytes32 indexed logId,
        uint32 indexed epochTo,
        bytes32 indexed handoverHash,
        address by
    );

    /// @notice The log's signer changed. As in `logState` after it: `epoch` and `head` are the new ones (the head is
    /// the acceptance's struct hash), `seq` is the last seal that the old signer made.
    event HandoverAccepted(
        bytes32 indexed logId,
        uint32 indexed epoch,
        bytes32 indexed handoverHash,
        address from,
        address to,
        uint8 custody,
        uint32 seq,
        bytes32 head
    );

    /// @notice The period length is zero (deployment only).
    error ZeroPeriod();
    /// @notice The genesis signer is the zero address.
    error ZeroSigner();
    /// @notice The handover names a log that was never registered.
    error UnknownLogId();
    /// @notice The handover's `epochTo` is not the log's epoch plus one.
    error NotNextEpoch();
    /// @notice The handover's `from` is not the log's current signer.
    error NotCurrentSigner();
    /// @notice The handover's `to` is the zero address or `from` itself.
    error BadSuccessor();
    /// @notice The handover cannot become due before it expires (proposal), or has expired (acceptance).
    error Expired();
    /// @notice The cooling-off or `notBefore` has not passed.
    error TooSoon();
    /// @notice A handover that has not expired is pending for this log.
    error AlreadyPending();
    /// @notice This handover is not the one that is pending.
    error NotPending();
    /// @notice This handover has been cancelled, for ever.
    error CancelledBefore();
    /// @notice The signature is not `account`'s over this statement.
    /// @param account Whose signature was wanted (for a cancellation, the handover's `from`).
    error InvalidSignature(address account);
    /// @notice Too little gas is left to give a contract signer its full allowance. Send again with more.
    error NotEnoughGas();

    /// @notice Length of a period in seconds.
    function PERIOD() external view returns (uint32);

    /// @notice Shortest time in seconds between a handover's proposal and its acceptance.
    function COOLING_OFF() external view returns (uint32);

    /// @notice Whether the handover with this hash (see `hashHandover`) was cancelled.
    function cancelled(bytes32 handoverHash) external view returns (bool);

    /// @notice Registers a log. Free for all and repeatable: a log that exists is left as it is.
    /// @param genesisSigner The address whose seals the log accepts first; not zero.
    /// @param originHash keccak256 of the log's origin.
    /// @return logId The log's id, which commits to both.
    function register(address genesisSigner, bytes32 originHash) external returns (bytes32 logId);

    /// @notice Anchors signed seals, in the order given; several of one log may follow each other. A bad item is
    /// refused by itself (`SealRefused`) and a stale one skipped: neither disturbs its neighbours.
    /// @dev Reverts only with NotEnoughGas or when the call data is no valid encoding of the items.
    /// @param items The seals.
    /// @return outcomes One for every item, in the same order (read them by simulating the call).
    function anchor(SealInput[] calldata items) external returns (Outcome[] memory outcomes);

    /// @notice Starts the cooling-off of a handover that both keys have signed. It becomes due at
    /// max(now + COOLING_OFF, notBefore), which must be before `expiresAt`. The current signer goes on sealing.
    /// @dev A pending handover that has expired is replaced; one that has not must be cancelled first.
    /// @param handover The succession.
    /// @param fromSignature The current signer's signature over Handover.
    /// @param toSignature The successor's signature over Handover.
    function proposeHandover(
        Handover calldata handover,
        bytes calldata fromSignature,
        bytes calldata toSignature
    ) external;

    /// @notice Kills a handover for ever, before or after its proposal, with a signature of either of its two keys.
    /// @param handover The succession.
    /// @param signature Signature of `from` or `to` over HandoverCancel(logId, epochTo, hash of the handover).
    function cancelHandover(Handover calldata handover, bytes calldata signature) external;

    /// @notice Completes the pending handover between its eta and `expiresAt` (both included): `to` becomes the signer
    /// and the acceptance's struct hash the head, so that nothing signed by the old key can follow.
    /// @param handover The succession.
    /// @param signature The successor's signature over HandoverAccept(logId, epochTo, hash of the handover, seq, head)
    /// with the log's seq and head of this moment.
    function acceptHandover(Handover calldata handover, bytes calldata signature) external;

    /// @notice A log's standing; all zero for one that was never registered.
    /// @param logId The log.
    /// @return signer The address whose signature the next seal needs.
    /// @return epoch How many successions there were.
    /// @return seq The last seal's number; 0 before the first.
    /// @return period The last seal's period, its first second; 0 before the first.
    /// @return treeSize The last seal's number of leaves.
    /// @return head Struct hash of the last Seal or HandoverAccept; zero before both.
    function logState(
        bytes32 logId
    )
        external
        view
        returns (address signer, uint32 epoch, uint32 seq, uint64 period, uint48 treeSize, bytes32 head);

    /// @notice The handover that was proposed last and neither accepted nor cancelled; all zero if there is none. One
    /// that has expired stays here until another is proposed.
    /// @param logId The log.
    /// @return handoverHash Its hash.
    /// @return eta First second at which it may be accepted.
    /// @return expiresAt Last second at which it may be accepted.
    function pendingHandover(
        bytes32 logId
    ) external view returns (bytes32 handoverHash, uint64 eta, uint64 expiresAt);

    /// @notice Asks a contract account under ERC-1271, with an allowance of 120,000 gas.
    /// @dev The registry calls this on itself: a frame of its own turns every hostile answer (none, too short, not a
    /// bytes4, megabytes) into a refusal that costs no neighbour anything. Of use to nobody else, and harmless.
    /// @param account The contract account.
    /// @param digest The EIP-712 digest.
    /// @param signature Whatever the account takes as a signature.
    /// @return Whether the account answered with ERC-1271's magic value. Reverts if its answer is no bytes4.
    function isContractSignature(
        address account,
        bytes32 digest,
        bytes calldata signature
    ) external view returns (bool);

    /// @notice The id of the log with this first signer and this origin: nobody can squat another signer's.
    /// @param genesisSigner The log's first signer.
    /// @param originHash keccak256 of the log's origin.
    /// @return The log's id, whether it is registered or not.
    function logIdOf(address genesisSigner, bytes32 originHash) external pure returns (bytes32);

    /// @notice A handover's EIP-712 struct hash, by which acceptance, cancellation and events name it.
    /// @param handover The succession.
    /// @return Its struct hash.
    function hashHandover(Handover calldata handover) external pure returns (bytes32);
}
