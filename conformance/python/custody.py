"""Certificates of custody, offline: docs/protocol.md, section 21."""

import formats
import passkeys
import receipts
import statements
from formats import Malformed
from keccak import keccak256
from statements import recovers, signed_digest, struct_hash, unhex

CHECKS = ("format", "policy", "log id", "handovers", "proof", "approvals", "trial", "old key", "anchor", "finality")


def _policy(certificate, policy):
    if policy is None:
        return False
    known, registry = policy["registry"], certificate["registry"]
    log = receipts.find_log(policy, certificate["origin"], certificate["genesisSigner"])
    if registry["chainId"] != known["chainId"] or registry["contract"] != known["contract"] or log is None:
        return False
    handovers = certificate["handovers"]
    for entry in log.get("succession", []):
        if 1 <= entry["epoch"] <= len(handovers):
            item = handovers[entry["epoch"] - 1]
            if item["handover"]["to"] != entry["signer"] or item["accept"]["seq"] != entry["afterSeq"]:
                return False
    return True


def _handovers(certificate):
    log_id = certificate["handovers"][-1]["handover"]["logId"]
    signer, seq, head = certificate["genesisSigner"], 0, statements.ZERO_HASH
    for epoch, item in enumerate(certificate["handovers"], 1):
        if not receipts.handover_holds(certificate["registry"], log_id, item, epoch, signer, seq, head):
            return False
        signer, seq = item["handover"]["to"], item["accept"]["seq"]
        head = struct_hash("HandoverAccept", item["accept"])
    return True


def _statement(last, expires_at):
    """What a proof and an approval say: the type's fields are picked by its name."""
    return dict(
        logId=last["logId"], newSigner=last["to"], custody=last["custody"], nonce=last["nonce"], expiresAt=expires_at
    )


def _proof(registry, last, proof):
    digest = struct_hash("CustodyProof", _statement(last, proof["expiresAt"]))
    return recovers(registry, digest, proof["signature"]) == last["to"]


def _approvals(registry, last, approvals):
    digest = signed_digest(registry, struct_hash("CustodyApproval", _statement(last, approvals["expiresAt"])))
    given = approvals["passkeys"]
    return (
        len(given) >= 2
        and len({each["credentialId"] for each in given}) == len(given)
        and len({each["publicKey"] for each in given}) == len(given)
        and all(
            passkeys.approves(
                each["clientDataJSON"],
                unhex(each["authenticatorData"]),
                unhex(each["publicKey"]),
                unhex(each["signature"]),
                digest,
            )
            for each in given
        )
    )


def _trial(registry, last, before, trial):
    seqs = [each["seal"]["seq"] for each in trial]
    return (
        len(set(seqs)) == len(seqs)
        and max(seqs) <= before
        and all(
            recovers(registry, struct_hash("Seal", dict(each["seal"], logId=last["logId"])), each["signature"])
            == last["to"]
            for each in trial
        )
    )


def _old_key(last, info):
    """A SubjectPublicKeyInfo ends with the point, uncompressed (RFC 5480)."""
    point = unhex(info)[-65:]
    return len(point) == 65 and point[0] == 4 and "0x" + keccak256(point[1:])[12:].hex() == last["from"]


def judge(data, policy):
    """Names of the checks that fail."""
    try:
        certificate = formats.parse(data)
        formats.certificate(certificate)
        if not certificate["handovers"]:
            raise Malformed("no handover")
    except Malformed:
        return ["format"]
    registry, item = certificate["registry"], certificate["handovers"][-1]
    last, before = item["handover"], item["accept"]["seq"]
    log_id = statements.log_id(certificate["genesisSigner"], certificate["origin"])
    # None: waived.
    holds = {
        "policy": _policy(certificate, policy),
        "log id": all(each["handover"]["logId"] == log_id for each in certificate["handovers"]),
        "handovers": _handovers(certificate),
        "proof": certificate["proof"] and _proof(registry, last, certificate["proof"]),
        "approvals": certificate["approvals"] and _approvals(registry, last, certificate["approvals"]),
        "trial": _trial(registry, last, before, certificate["trial"]) if certificate["trial"] else None,
        "old key": None if certificate["oldPublicKey"] is None else _old_key(last, certificate["oldPublicKey"]),
        "anchor": None,
        "finality": None,
    }
    required = policy["require"] if policy else []
    failed = {name for name, held in holds.items() if held is False or (held is None and name in required)}
    return [name for name in CHECKS if name in failed]
