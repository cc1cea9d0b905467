"""Receipts and what hangs on them, offline: docs/protocol.md, sections 12, 13, 10 and 16."""

import ed25519
import formats
import statements
from formats import Malformed
from statements import ZERO_HASH, leaf_hash, recovers, struct_hash, unhex

CHECKS = "format,policy,commitment,leaf,period,inclusion,log id,signature,handovers,anchor,finality".split(",")


def find_log(policy, origin, genesis_signer):
    for log in policy["logs"]:
        if log["origin"] == origin and log["genesisSigner"] == genesis_signer:
            return log
    return None


def policy_holds(policy, registry, origin, genesis_signer, seal, handovers):
    """The check `policy`, of one seal."""
    known = policy["registry"]
    log = find_log(policy, origin, genesis_signer)
    if registry["chainId"] != known["chainId"] or registry["contract"] != known["contract"] or log is None:
        return False
    if seal["period"] % known["periodSeconds"]:
        return False
    for entry in log.get("succession", []):
        epoch, after = entry["epoch"], entry["afterSeq"]
        if epoch > seal["epoch"]:
            if seal["seq"] > after:
                return False
            continue
        handover = handovers[epoch - 1] if 1 <= epoch <= len(handovers) else None
        if epoch == seal["epoch"]:
            signer = seal["signer"]
        elif epoch == 0:
            signer = genesis_signer
        else:
            signer = handover and handover["handover"]["to"]
        if signer != entry["signer"] or seal["seq"] <= after:
            return False
        if handover is not None and handover["accept"]["seq"] != after:
            return False
    return True


def body_holds(entry_commitment, disclosure):
    """Whether a body is one, and the one that an entry commits to; None when the entry is not known."""
    try:
        formats.check_body(disclosure["body"])
    except Malformed:
        return False
    return None if entry_commitment is None else statements.commitment(disclosure) == entry_commitment


def checkpoint_holds(note, origin, seal, log):
    try:
        if not statements.checkpoint_says(note, origin, seal):
            return False
        keys = (log or {}).get("checkpointKeys")
        return keys is None or any(statements.signed_by(note, origin, key) for key in keys)
    except Malformed:
        return False


def handover_holds(registry, log_id, item, epoch, signer, seq, head):
    """One handover, given the signer, and the seq and head of the statement before it."""
    handover, accept = item["handover"], item["accept"]
    digest = struct_hash("Handover", handover)
    return (
        handover["logId"] == log_id == accept["logId"]
        and handover["epochTo"] == epoch == accept["epochTo"]
        and handover["from"] == signer
        and handover["to"] not in (signer, "0x" + "00" * 20)
        and 1 <= handover["custody"] <= 3
        and handover["notBefore"] < handover["expiresAt"]
        and accept["handoverHash"] == digest
        and accept["seq"] >= seq
        and (accept["seq"] > seq or accept["head"] == head)
        and recovers(registry, digest, item["fromSignature"]) == handover["from"]
        and recovers(registry, digest, item["toSignature"]) == handover["to"]
        and recovers(registry, struct_hash("HandoverAccept", accept), item["acceptSignature"]) == handover["to"]
    )


def handovers_hold(receipt):
    seal, registry = receipt["seal"], receipt["registry"]
    if len(receipt["handovers"]) != seal["epoch"]:
        return False
    signer, seq, head = receipt["genesisSigner"], 0, ZERO_HASH
    for epoch, item in enumerate(receipt["handovers"], 1):
        if not handover_holds(registry, seal["logId"], item, epoch, signer, seq, head):
            return False
        signer, seq = item["handover"]["to"], item["accept"]["seq"]
        head = struct_hash("HandoverAccept", item["accept"])
    if seal["signer"] != signer or seal["seq"] <= seq:
        return False
    return seal["seq"] > seq + 1 or seal["prev"] == head


def judge(data, policy):
    """Names of the checks that fail, and the receipt (None when it is none)."""
    try:
        receipt = formats.parse(data)
        formats.receipt(receipt)
    except Malformed:
        return ["format"], None
    seal, registry = receipt["seal"], receipt["registry"]
    origin, genesis = receipt["origin"], receipt["genesisSigner"]
    log = policy and find_log(policy, origin, genesis)
    required = policy["require"] if policy else []
    failed, waived = set(), {"anchor", "finality"}

    if policy is None or not policy_holds(policy, registry, origin, genesis, seal, receipt["handovers"]):
        failed.add("policy")
    try:
        received, commitment = statements.parse_entry(receipt["entry"])
    except Malformed:
        received = commitment = None
        failed.add("leaf")
    if receipt["disclosure"] is None:
        waived.add("commitment")
    elif body_holds(commitment, receipt["disclosure"]) is False:
        failed.add("commitment")
    if received is not None:
        length = policy["registry"]["periodSeconds"] if policy else 3600
        begin = seal["period"]
        if (policy and begin % length) or not begin * 1000 <= received < (begin + length) * 1000:
            failed.add("period")
    path = [unhex(item) for item in receipt["inclusion"]]
    if not statements.includes(leaf_hash(receipt["entry"]), receipt["leafIndex"], seal["treeSize"], path, unhex(seal["root"])):
        failed.add("inclusion")
    if statements.log_id(genesis, origin) != seal["logId"]:
        failed.add("log id")
    note = receipt["checkpoint"]
    if recovers(registry, struct_hash("Seal", seal), seal["signature"]) != seal["signer"]:
        failed.add("signature")
    elif seal["epoch"] == 0 and seal["signer"] != genesis:
        failed.add("signature")
    elif note is not None and not checkpoint_holds(note, origin, seal, log):
        failed.add("signature")
    if not handovers_hold(receipt):
        failed.add("handovers")
    failed |= waived.intersection(required)
    return [name for name in CHECKS if name in failed], receipt


def judge_promise(data, policy, receipts):
    try:
        promise = formats.parse(data)
        if isinstance(promise, dict) and "promise" in promise:
            promise = promise["promise"]
        formats.promise(promise)
    except Malformed:
        return ["format"]
    logs = [log for log in policy["logs"] if log["origin"] == promise["origin"]]
    keys = [key for log in logs for key in log.get("promiseKeys", [])]
    failed = [] if logs else ["policy"]
    message, signature = statements.promise_bytes(promise), unhex(promise["signature"])
    if not any(ed25519.verify(signature, message, unhex(key)) for key in keys):
        failed.append("signature")
    for data in receipts:
        wrong, receipt = judge(data, policy)
        if wrong:
            return failed + ["receipt"]
        leaf = "0x" + leaf_hash(receipt["entry"]).hex()
        if (receipt["origin"], receipt["leafIndex"], leaf) != (promise["origin"], promise["leafIndex"], promise["leafHash"]):
            failed.append("leaf")
        elif receipt["seal"]["period"] + policy["registry"]["periodSeconds"] > promise["sealBy"]:
            failed.append("kept")
    return failed


def end_signed(note, end, policy):
    """The policy's log that an end is of, and whether the operator signed it."""
    for log in policy["logs"]:
        if log["origin"] == end["origin"] and statements.log_id(log["genesisSigner"], log["origin"]) == end["logId"]:
            return log, any(statements.signed_by(note, end["origin"], key) for key in log.get("checkpointKeys", []))
    return None, False


def judge_end(data, policy, receipts):
    try:
        note = data.decode("utf-8")
        end = statements.parse_end(note)
    except (Malformed, UnicodeDecodeError):
        return ["format"]
    log, signed = end_signed(note, end, policy)
    failed = ([] if log else ["policy"]) + ([] if signed else ["signature"])
    judged = [judge(receipt, policy) for receipt in receipts]
    if any(wrong for wrong, _ in judged):
        return failed + ["receipts"]
    for _, receipt in judged:
        seal = receipt["seal"]
        if seal["logId"] == end["logId"]:
            last = seal["seq"] == end["seq"] and struct_hash("Seal", seal) == end["seal"]
            if not last and seal["seq"] >= end["seq"] and "last seal" not in failed:
                failed.append("last seal")
        elif receipt["origin"] != end["successor"] and "discontinuity" not in failed:
            failed.append("discontinuity")
    return failed
