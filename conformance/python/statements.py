"""What keys sign, and notes: docs/protocol.md, sections 3 to 10 and 16."""

import base64
import hashlib
import hmac
import re
from datetime import datetime, timezone

import ed25519
import secp256k1
from formats import Malformed
from keccak import keccak256

ZERO_HASH = "0x" + "00" * 32
EMPTY_ROOT = hashlib.sha256(b"").digest()

FIELDS = {
    "Seal": "bytes32 logId,uint32 seq,uint64 period,uint48 treeSize,bytes32 root,bytes32 prev",
    "CustodyProof": "bytes32 logId,address newSigner,bytes32 nonce,uint64 expiresAt",
    "CustodyApproval": "bytes32 logId,address newSigner,uint8 custody,bytes32 nonce,uint64 expiresAt",
    "Handover": "bytes32 logId,uint32 epochTo,address from,address to,uint8 custody,uint64 notBefore,uint64 expiresAt,bytes32 nonce",
    "HandoverAccept": "bytes32 logId,uint32 epochTo,bytes32 handoverHash,uint32 seq,bytes32 head",
}
DOMAIN = "EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"


def unhex(value):
    return bytes.fromhex(value[2:])


def _word(value):
    data = value.to_bytes(32, "big") if isinstance(value, int) else unhex(value)
    return data.rjust(32, b"\0")


def struct_hash(name, value):
    """EIP-712's hashStruct, as hex. Values may have members beyond the type's."""
    fields = [field.split()[1] for field in FIELDS[name].split(",")]
    data = keccak256(f"{name}({FIELDS[name]})".encode()) + b"".join(_word(value[field]) for field in fields)
    return "0x" + keccak256(data).hex()


def signed_digest(registry, hash_of_struct):
    """EIP-712's digest of a struct hash under a registry's domain."""
    domain = keccak256(
        keccak256(DOMAIN.encode())
        + keccak256(b"KIFF Seal")
        + keccak256(b"1")
        + _word(registry["chainId"])
        + _word(registry["contract"])
    )
    return keccak256(b"\x19\x01" + domain + unhex(hash_of_struct))


def recovers(registry, hash_of_struct, signature):
    """The signer of a struct hash under a registry's domain, or None when it is no signature."""
    try:
        return secp256k1.recover(signed_digest(registry, hash_of_struct), unhex(signature))
    except secp256k1.BadSignature:
        return None


def log_id(genesis_signer, origin):
    return "0x" + keccak256(_word(genesis_signer) + keccak256(origin.encode())).hex()


ENTRY = re.compile(
    r'\{"v":1,"id":"([A-Za-z0-9._:-]{1,128})","received_at":"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z)",'
    r'"key":"([a-z0-9][a-z0-9_-]{0,63})","commitment":"([0-9a-f]{64})"\}',
    re.ASCII,
)


def parse_entry(text):
    """(milliseconds of received_at, commitment) of an entry."""
    match = ENTRY.fullmatch(text)
    if match is None:
        raise Malformed("not an entry")
    try:
        moment = datetime.strptime(match[2][:19], "%Y-%m-%dT%H:%M:%S").replace(tzinfo=timezone.utc)
    except ValueError:
        raise Malformed("not a time that exists") from None
    seconds = (moment - datetime(1970, 1, 1, tzinfo=timezone.utc)).total_seconds()
    return int(seconds) * 1000 + int(match[2][20:23]), match[4]


def commitment(disclosure):
    return hmac.new(unhex(disclosure["salt"]), disclosure["body"].encode(), hashlib.sha256).hexdigest()


def leaf_hash(entry):
    return hashlib.sha256(b"\0" + entry.encode()).digest()


def children(left, right):
    return hashlib.sha256(b"\1" + left + right).digest()


def includes(leaf, index, size, path, root):
    """RFC 9162, section 2.1.3.2."""
    if index >= size:
        return False
    first, last, node = index, size - 1, leaf
    for item in path:
        if last == 0:
            return False
        if first & 1 or first == last:
            node = children(item, node)
            while first and not first & 1:
                first, last = first >> 1, last >> 1
        else:
            node = children(node, item)
        first, last = first >> 1, last >> 1
    return last == 0 and node == root


class Tree:
    """A tree that grows, as the complete subtrees under its root (section 17)."""

    def __init__(self, size=0, nodes=()):
        self.size, self.nodes = size, list(nodes)

    def append(self, leaf):
        size = self.size
        while size & 1:
            leaf = children(self.nodes.pop(), leaf)
            size >>= 1
        self.nodes.append(leaf)
        self.size += 1

    def root(self):
        if not self.nodes:
            return EMPTY_ROOT
        root = self.nodes[-1]
        for node in reversed(self.nodes[:-1]):
            root = children(node, root)
        return root


def _base64(text):
    try:
        data = base64.b64decode(text, validate=True)
    except ValueError:
        raise Malformed("not base64") from None
    if base64.b64encode(data).decode() != text:
        raise Malformed("base64 in another spelling")
    return data


def split_note(note):
    """(text, [(name, key id, signature)]) of a signed note."""
    at = note.rfind("\n\n")
    if at < 0 or not note.endswith("\n") or at + 2 == len(note):
        raise Malformed("no signatures")
    if any(ord(character) < 0x20 and character != "\n" for character in note):
        raise Malformed("control characters")
    signatures = []
    for line in note[at + 2 : -1].split("\n"):
        parts = line.split(" ")
        if len(parts) != 3 or parts[0] != "—" or not re.fullmatch(r"[^\s+]+", parts[1]):
            raise Malformed("not a signature line")
        data = _base64(parts[2])
        if len(data) <= 4:
            raise Malformed("a signature that is too short")
        signatures.append((parts[1], data[:4], data[4:]))
    return note[: at + 1], signatures


def signed_by(note, origin, key):
    """Whether a note is signed with an Ed25519 key under the origin's name."""
    text, signatures = split_note(note)
    key_id = hashlib.sha256(origin.encode() + b"\n\1" + unhex(key)).digest()[:4]
    own = [signature for name, identity, signature in signatures if name == origin and identity == key_id]
    return bool(own) and all(ed25519.verify(signature, text.encode(), unhex(key)) for signature in own)


def checkpoint_says(note, origin, seal):
    """Whether a checkpoint is exactly of a seal's tree, with one signature line (section 9)."""
    text, signatures = split_note(note)
    root = base64.b64encode(unhex(seal["root"])).decode()
    return (
        text == f"{origin}\n{seal['treeSize']}\n{root}\n"
        and len(signatures) == 1
        and signatures[0][0] == origin
        and len(signatures[0][2]) == 64
    )


REASONS = """record-missing record-altered tile-altered seal-altered root-conflict seal-conflict statement-conflict
not-an-extension database-behind chain-ahead chain-differs final-reorged clock-ahead signer-lost""".split()
END = re.compile(
    r"kiff\.end/1\norigin ([!-*,-~]{1,255})\nlog (0x[0-9a-f]{64})\nseq (0|[1-9][0-9]{0,9})\nseal (0x[0-9a-f]{64})\n"
    r"size (0|[1-9][0-9]{0,15})\nroot (0x[0-9a-f]{64})\nreason ([a-z-]+)\nsuccessor ([!-*,-~]{1,255})\n"
)


def parse_end(note):
    """The statement that a log has ended (section 16)."""
    text, _ = split_note(note)
    match = END.fullmatch(text)
    if match is None:
        raise Malformed("not an end")
    origin, identity, seq, seal, size, root, reason, successor = match.groups()
    if origin == successor or reason not in REASONS or int(seq) >= 2**32 or int(size) >= 2**48:
        raise Malformed("not an end")
    if int(seq) == 0 and (seal, int(size), root) != (ZERO_HASH, 0, "0x" + EMPTY_ROOT.hex()):
        raise Malformed("a log without a seal has no tree")
    return dict(origin=origin, logId=identity, seq=int(seq), seal=seal, successor=successor)


def promise_bytes(promise):
    origin, index, leaf, until = (promise[name] for name in ("origin", "leafIndex", "leafHash", "sealBy"))
    terms = '{"origin":"%s","leafIndex":%d,"leafHash":"%s","sealBy":%d}' % (origin.replace("\\", "\\\\").replace('"', '\\"'), index, leaf, until)
    return ("kiff.promise/1\n" + terms).encode()


