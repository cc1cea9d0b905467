"""Strict JSON, and the documents' forms: docs/protocol.md, sections 1, 10, 11, 12, 17 and 21."""

import json
import re

MAX_INTEGER = 2**53 - 1


class Malformed(Exception):
    """Not of the form."""


def _pairs(pairs):
    names = [name for name, _ in pairs]
    if len(set(names)) != len(names):
        raise Malformed("two members with one name")
    return dict(pairs)


def _refuse(_):
    raise Malformed("not a number that is allowed here")


def _integer(text):
    if text == "-0" or len(text) > 17:
        raise Malformed("not an integer that is allowed here")
    return int(text)


def _whole(value):
    """Refuses halves of surrogate pairs, in names too."""
    if isinstance(value, str):
        if any(0xD800 <= ord(character) <= 0xDFFF for character in value):
            raise Malformed("half of a surrogate pair")
    elif isinstance(value, list):
        for item in value:
            _whole(item)
    elif isinstance(value, dict):
        for name, item in value.items():
            _whole(name)
            _whole(item)


def _check_depth(text, limit):
    depth = 0
    for token in re.finditer(r'"(?:[^"\\]|\\.)*"|[\[\]{}]', text, re.DOTALL):
        if token.group() in ("[", "{"):
            depth += 1
            if depth > limit:
                raise Malformed("nested too deep")
        elif token.group() in ("]", "}"):
            depth -= 1


def parse(data):
    """The value of a document's bytes, whose numbers are integers."""
    try:
        text = data.decode("utf-8")
        _check_depth(text, 32)
        value = json.loads(
            text, object_pairs_hook=_pairs, parse_int=_integer, parse_float=_refuse, parse_constant=_refuse
        )
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise Malformed(str(error)) from None
    _whole(value)
    return value


# Numbers in records are whatever the grammar allows: nobody reads them.
_body_decoder = json.JSONDecoder(object_pairs_hook=_pairs, parse_int=str, parse_float=str, parse_constant=_refuse)


def check_body(text):
    """A body is exactly {"attribution":A,"record":R} (section 2)."""
    _check_depth(text, 33)
    head, middle = '{"attribution":', ',"record":'
    try:
        if not text.startswith(head):
            raise Malformed("not a body")
        attribution, end = _body_decoder.raw_decode(text, len(head))
        if not text.startswith(middle, end):
            raise Malformed("not a body")
        record, end = _body_decoder.raw_decode(text, end + len(middle))
    except json.JSONDecodeError as error:
        raise Malformed(str(error)) from None
    if text[end:] != "}" or not isinstance(record, dict) or not (attribution is None or isinstance(attribution, dict)):
        raise Malformed("not a body")
    _whole([attribution, record])


def hexadecimal(length):
    pattern = re.compile(r"0x[0-9a-f]{%d}" % (2 * length))

    def read(value):
        if not isinstance(value, str) or not pattern.fullmatch(value):
            raise Malformed(f"not {length} bytes of hex")

    return read


def hexadecimal_up_to(length):
    pattern = re.compile(r"0x(?:[0-9a-f]{2}){0,%d}" % length)

    def read(value):
        if not isinstance(value, str) or not pattern.fullmatch(value):
            raise Malformed(f"not hex of at most {length} bytes")

    return read


def integer(low, high):
    def read(value):
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            raise Malformed(f"not an integer in {low}..{high}")

    return read


def text(value):
    if not isinstance(value, str):
        raise Malformed("not a string")


def origin(value):
    text(value)
    if not re.fullmatch(r"[!-*,-~]{1,255}", value):
        raise Malformed("not an origin")


def one_of(*words):
    def read(value):
        if value not in words or not isinstance(value, str):
            raise Malformed("not one of the words")

    return read


def optional(read):
    return lambda value: None if value is None else read(value)


def array(read, limit):
    def read_all(value):
        if not isinstance(value, list) or len(value) > limit:
            raise Malformed("not such an array")
        for item in value:
            read(item)

    return read_all


def members(**readers):
    def read(value):
        if not isinstance(value, dict) or set(value) != set(readers):
            raise Malformed("not exactly these members")
        for name, reader in readers.items():
            reader(value[name])

    return read


uint8, uint32, uint48 = integer(0, 2**8 - 1), integer(0, 2**32 - 1), integer(0, 2**48 - 1)
uint64 = count = integer(0, MAX_INTEGER)
bytes32, address, signature = hexadecimal(32), hexadecimal(20), hexadecimal(65)

_place = dict(txHash=bytes32, blockNumber=count, blockHash=bytes32, logIndex=count)
place = members(**_place)
registry = members(chainId=integer(1, MAX_INTEGER), contract=address)
disclosure = optional(members(salt=bytes32, body=text))
seal = members(
    logId=bytes32,
    seq=integer(1, 2**32 - 1),
    period=uint64,
    treeSize=uint48,
    root=bytes32,
    prev=bytes32,
    signer=address,
    epoch=uint32,
    signature=signature,
)
handover = members(
    handover=members(
        **{"logId": bytes32, "epochTo": uint32, "from": address, "to": address, "custody": uint8},
        notBefore=uint64,
        expiresAt=uint64,
        nonce=bytes32,
    ),
    fromSignature=signature,
    toSignature=signature,
    accept=members(logId=bytes32, epochTo=uint32, handoverHash=bytes32, seq=uint32, head=bytes32),
    acceptSignature=signature,
    proposed=place,
    accepted=place,
)
receipt = members(
    format=one_of("kiff.receipt/1"),
    origin=origin,
    genesisSigner=address,
    registry=registry,
    entry=text,
    disclosure=disclosure,
    leafIndex=uint48,
    inclusion=array(bytes32, 48),
    seal=seal,
    checkpoint=optional(text),
    handovers=array(handover, 10_000),
    anchor=members(level=one_of("included", "safe", "final"), **_place),
)
promise = members(origin=origin, leafIndex=count, leafHash=bytes32, sealBy=count, signature=hexadecimal(64))

_some = hexadecimal_up_to(4096)
certificate = members(
    format=one_of("kiff.custody/1"),
    origin=origin,
    genesisSigner=address,
    registry=registry,
    handovers=array(handover, 10_000),
    approvals=optional(
        members(
            expiresAt=uint64,
            passkeys=array(
                members(
                    credentialId=text, publicKey=_some, authenticatorData=_some, clientDataJSON=text, signature=_some
                ),
                100,
            ),
        )
    ),
    proof=optional(members(expiresAt=uint64, signature=signature)),
    trial=array(
        members(
            seal=members(seq=integer(1, 2**32 - 1), period=uint64, treeSize=uint48, root=bytes32, prev=bytes32),
            signature=signature,
        ),
        100,
    ),
    oldPublicKey=optional(_some),
    operatorSays=optional(
        members(
            startedAt=uint64,
            approvedAt=array(uint64, 100),
            oldKeyPolicyHash=optional(bytes32),
            oldKeyDisabled=optional(members(key=text, state=text, refusedWith=text)),
        )
    ),
)

header = members(
    **{"format": one_of("kiff.bundle/1"), "from": uint64},
    origin=origin,
    genesisSigner=address,
    registry=registry,
    periodSeconds=integer(1, 2**32 - 1),
    to=uint64,
)
# A line's kind is told by the one of these members that it has.
lines = {
    "entry": members(entry=text, disclosure=disclosure),
    "seal": members(seal=seal, checkpoint=optional(text), anchor=optional(place)),
    "handover": members(handover=handover),
    "base": members(base=seal, nodes=array(bytes32, 53), anchor=optional(place)),
    "end": members(end=text),
    "seals": members(seals=count, entries=count),
}
