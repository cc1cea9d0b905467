"""Bundles, offline and in one pass: docs/protocol.md, section 17."""

import formats
import receipts
import statements
from formats import Malformed
from statements import ZERO_HASH, leaf_hash, recovers, struct_hash, unhex

CHECKS = (
    "format,policy,log id,base,sequence,periods,handovers,signature,leaf,period,roots,commitment,end,anchor,finality,"
    "on time,complete"
).split(",")
MAX_LINE = 1024 * 1024


class Walk:
    """Where the log stands, and what was wrong so far."""

    def __init__(self, header, policy):
        self.header, self.policy = header, policy
        self.length = header["periodSeconds"]
        self.log = receipts.find_log(policy, header["origin"], header["genesisSigner"])
        self.log_id = statements.log_id(header["genesisSigner"], header["origin"])
        self.failed = set()
        self.signer, self.epoch, self.head, self.head_seq = header["genesisSigner"], 0, ZERO_HASH, 0
        self.last = self.last_hash = None
        self.handovers = []
        self.tree, self.lost = statements.Tree(), False
        self.group, self.skips = None, False
        self.received = 0
        self.seals = self.entries = self.disclosed = 0
        self.trailer = self.ended = self.has_base = False
        known = policy["registry"]
        registry = header["registry"]
        same = registry["chainId"] == known["chainId"] and registry["contract"] == known["contract"]
        if not same or self.log is None or self.length != known["periodSeconds"]:
            self.failed.add("policy")

    def fail(self, check, unless=False):
        if not unless:
            self.failed.add(check)

    def take(self, line):
        kind = next((name for name in formats.lines if isinstance(line, dict) and name in line), None)
        if self.trailer or kind is None:
            raise Malformed("no line of a bundle")
        formats.lines[kind](line)
        getattr(self, "on_" + kind)(line)

    def signed(self, seal):
        header = self.header
        self.fail("log id", seal["logId"] == self.log_id)
        self.fail("signature", recovers(header["registry"], struct_hash("Seal", seal), seal["signature"]) == seal["signer"])
        self.fail("handovers", seal["epoch"] == self.epoch and seal["signer"] == self.signer)
        known = (self.policy, header["registry"], header["origin"], header["genesisSigner"])
        self.fail("policy", receipts.policy_holds(*known, seal, self.handovers))

    def stand(self, seal):
        self.last, self.last_hash = seal, struct_hash("Seal", seal)
        self.head, self.head_seq = self.last_hash, seal["seq"]

    def on_base(self, line):
        base, nodes = line["base"], [unhex(node) for node in line["nodes"]]
        self.fail("format", not self.has_base and self.seals == 0)
        self.has_base = True
        self.signed(base)
        self.fail("base", base["seq"] != self.head_seq + 1 or base["prev"] == self.head)
        self.fail("base", base["period"] + self.length == self.header["from"])
        if len(nodes) == bin(base["treeSize"]).count("1"):
            self.tree = statements.Tree(base["treeSize"], nodes)
        if len(nodes) != len(self.tree.nodes) or self.tree.root() != unhex(base["root"]):
            self.failed.add("base")
            self.lost = True
        self.stand(base)
        self.fail("anchor", line["anchor"] is not None)

    def on_handover(self, line):
        self.close()
        item = line["handover"]
        before = (self.epoch + 1, self.signer, self.head_seq, self.head)
        if not receipts.handover_holds(self.header["registry"], self.log_id, item, *before):
            self.failed.add("handovers")
            return
        self.epoch += 1
        self.signer = item["handover"]["to"]
        self.head, self.head_seq = struct_hash("HandoverAccept", item["accept"]), item["accept"]["seq"]
        self.handovers.append(item)

    def on_seal(self, line):
        self.close()
        seal, note = line["seal"], line["checkpoint"]
        self.seals += 1
        self.signed(seal)
        self.fail("signature", note is None or receipts.checkpoint_holds(note, self.header["origin"], seal, self.log))
        self.fail("anchor", line["anchor"] is not None)
        self.group = seal
        expected = (self.last["seq"] if self.last else 0) + 1
        self.skips = seal["seq"] < expected
        if self.skips:
            self.failed.add("sequence")
            return
        if seal["seq"] > expected:
            self.failed.add("sequence")
            self.lost = True
        self.fail("sequence", self.head_seq != seal["seq"] - 1 or seal["seq"] != expected or seal["prev"] == self.head)
        due = self.last["period"] + self.length if self.last else self.header["from"]
        self.fail("periods", seal["period"] == due)
        if seal["treeSize"] < (self.last["treeSize"] if self.last else 0):
            self.failed.add("roots")
            self.lost = True
        self.stand(seal)

    def on_entry(self, line):
        if self.group is None:
            self.failed.add("format")
            return
        self.entries += 1
        if self.skips:
            return
        if not self.lost:
            self.tree.append(leaf_hash(line["entry"]))
        try:
            received, commitment = statements.parse_entry(line["entry"])
        except Malformed:
            self.failed.add("leaf")
            return
        self.fail("leaf", received >= self.received)
        self.received = received
        begin = self.group["period"]
        self.fail("period", begin * 1000 <= received < (begin + self.length) * 1000)
        if line["disclosure"] is not None:
            self.disclosed += 1
            self.fail("commitment", receipts.body_holds(commitment, line["disclosure"]) is True)

    def close(self):
        """Behind a seal's entries its root can be recomputed, unless leaves were lost."""
        seal, self.group = self.group, None
        if seal is None or self.skips:
            return
        if self.lost or self.tree.size != seal["treeSize"] or self.tree.root() != unhex(seal["root"]):
            self.failed.add("roots")
            self.lost = True

    def on_end(self, line):
        self.close()
        self.ended = True
        try:
            end = statements.parse_end(line["end"])
            keys = (self.log or {}).get("checkpointKeys", [])
            self.fail("end", any(statements.signed_by(line["end"], end["origin"], key) for key in keys))
        except Malformed:
            self.failed.add("end")
            return
        self.fail("end", end["logId"] == self.log_id)
        if self.last:
            later = self.last["seq"] > end["seq"]
            other = self.last["seq"] == end["seq"] and self.last_hash != end["seal"]
            self.fail("end", not later and not other)

    def on_seals(self, line):
        self.trailer = True
        self.fail("format", (line["seals"], line["entries"]) == (self.seals, self.entries))

    def finish(self):
        self.close()
        due = self.last["period"] + self.length if self.last else self.header["from"]
        self.fail("periods", due > self.header["to"])


def read_lines(file):
    while True:
        line = file.readline(MAX_LINE + 1)
        if line == b"":
            return
        if not line.endswith(b"\n"):
            raise Malformed("a line that is too long, or breaks off")
        yield formats.parse(line[:-1])


def judge(path, policy):
    """Names of the checks that fail."""
    walk = None
    with open(path, "rb") as file:
        try:
            for line in read_lines(file):
                if walk is None:
                    formats.header(line)
                    walk = Walk(line, policy)
                else:
                    walk.take(line)
            if walk is None or not walk.trailer:
                raise Malformed("cut off")
        except Malformed:
            if walk is None:
                return ["format"]
            walk.failed.add("format")
        walk.finish()
    waived = {"finality", "on time", "complete", "anchor"}
    waived |= {name for name, there in (("base", walk.has_base), ("end", walk.ended)) if not there}
    if walk.disclosed == 0 and walk.entries > 0:
        waived.add("commitment")
    failed = walk.failed | waived.intersection(policy["require"])
    return [name for name in CHECKS if name in failed]
