"""Assertions of passkeys (WebAuthn level 3, section 7.2), as far as anybody can check them: docs/protocol.md, section 21."""

import base64
import hashlib
import json

import ed25519
import p256

PRESENT, VERIFIED = 1, 4
# DigestInfo of SHA-256: RFC 8017, section 9.2, note 1.
SHA256_INFO = bytes.fromhex("3031300d060960864801650304020105000420")


class Unreadable(Exception):
    """Not a key as authenticators write it."""


def _head(data, at):
    """CBOR (RFC 8949, section 3): (major type, argument, where the head ends)."""
    if at >= len(data):
        raise Unreadable
    major, small = data[at] >> 5, data[at] & 31
    length = {24: 1, 25: 2}.get(small, 0)
    if small > 25 or at + 1 + length > len(data):
        raise Unreadable
    return major, int.from_bytes(data[at + 1 : at + 1 + length], "big") if length else small, at + 1 + length


def _item(data, at):
    """(an integer or a byte string, where it ends): nothing else is in a key."""
    major, value, at = _head(data, at)
    if major == 0:
        return value, at
    if major == 1:
        return -1 - value, at
    if major != 2 or at + value > len(data):
        raise Unreadable
    return data[at : at + value], at + value


def cose_key(data):
    """The members of a COSE_Key (RFC 9052, section 7), by their labels."""
    major, count, at = _head(data, 0)
    if major != 5:
        raise Unreadable
    key = {}
    for _ in range(count):
        label, at = _item(data, at)
        value, at = _item(data, at)
        if not isinstance(label, int) or label in key:
            raise Unreadable
        key[label] = value
    if at != len(data):
        raise Unreadable
    return key


def _rsa(signature, message, modulus, exponent):
    """RSASSA-PKCS1-v1_5 with SHA-256: RFC 8017, section 8.2.2."""
    size, value = len(modulus), int.from_bytes(signature, "big")
    n = int.from_bytes(modulus, "big")
    if len(signature) != size or size < 128 or size > 1024 or len(exponent) > 4 or value >= n:
        return False
    info = SHA256_INFO + hashlib.sha256(message).digest()
    expected = b"\0\1" + b"\xff" * (size - len(info) - 3) + b"\0" + info
    return pow(value, int.from_bytes(exponent, "big"), n).to_bytes(size, "big") == expected


def _verifies(key, signature, message):
    def member(label):
        value = key.get(label)
        return value if isinstance(value, bytes) else b""

    algorithm = key.get(3)
    if algorithm == -7:
        return p256.verify(signature, hashlib.sha256(message).digest(), member(-2), member(-3))
    if algorithm == -8:
        return ed25519.verify(signature, message, member(-2))
    return algorithm == -257 and _rsa(signature, message, member(-1), member(-2))


def approves(client_data, authenticator_data, public_key, signature, digest):
    """Whether a passkey's user, present and verified, signed a challenge that is the digest."""
    try:
        client = json.loads(client_data)
        key = cose_key(public_key)
    except (ValueError, RecursionError, Unreadable):
        return False
    challenge = base64.urlsafe_b64encode(digest).decode().rstrip("=")
    if not isinstance(client, dict) or client.get("type") != "webauthn.get" or client.get("challenge") != challenge:
        return False
    # The id of the relying party (32), flags (1), a counter (4): section 6.1.
    if len(authenticator_data) < 37 or authenticator_data[32] & (PRESENT | VERIFIED) != PRESENT | VERIFIED:
        return False
    return _verifies(key, signature, authenticator_data + hashlib.sha256(client_data.encode()).digest())
