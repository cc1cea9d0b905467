"""ECDSA on P-256, verified: SEC 1, section 4.1.4, with the curve of SEC 2, section 2.4.2. Signatures are DER (RFC 3279)."""

P = 2**256 - 2**224 + 2**192 + 2**96 - 1
A = -3
B = 0x5AC635D8AA3A93E7B3EBBD55769886BC651D06B0CC53B0F63BCE3C3E27D2604B
N = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
G = (
    0x6B17D1F2E12C4247F8BCE6E563A440F277037D812DEB33A0F4A13945D898C296,
    0x4FE342E2FE1A7F9B8EE7EB4A7C0F9E162BCE33576B315ECECBB6406837BF51F5,
)


def _add(p, q):
    """Points are (x, y), and None is infinity."""
    if p is None or q is None:
        return p or q
    if p[0] == q[0]:
        if (p[1] + q[1]) % P == 0:
            return None
        slope = (3 * p[0] * p[0] + A) * pow(2 * p[1], -1, P)
    else:
        slope = (q[1] - p[1]) * pow(q[0] - p[0], -1, P)
    x = (slope * slope - p[0] - q[0]) % P
    return x, (slope * (p[0] - x) - p[1]) % P


def _times(scalar, point):
    result = None
    while scalar:
        if scalar & 1:
            result = _add(result, point)
        point = _add(point, point)
        scalar >>= 1
    return result


def _integer(data, at):
    """(value, where it ends) of a DER INTEGER that is not negative, or None."""
    if len(data) < at + 3 or data[at] != 2 or not 1 <= data[at + 1] <= 33 or len(data) < at + 2 + data[at + 1]:
        return None
    digits = data[at + 2 : at + 2 + data[at + 1]]
    if digits[0] & 0x80 or (len(digits) > 1 and digits[0] == 0 and not digits[1] & 0x80):
        return None
    return int.from_bytes(digits, "big"), at + 2 + len(digits)


def _parse(der):
    if len(der) < 2 or der[0] != 0x30 or der[1] != len(der) - 2:
        return None
    r = _integer(der, 2)
    s = r and _integer(der, r[1])
    return (r[0], s[0]) if s and s[1] == len(der) else None


def verify(signature, digest, x, y):
    """Whether a DER signature over a digest (32 bytes) is the key's, which is a point's coordinates (32 bytes each)."""
    if len(x) != 32 or len(y) != 32:
        return False
    point = int.from_bytes(x, "big"), int.from_bytes(y, "big")
    if max(point) >= P or (point[1] ** 2 - point[0] ** 3 - A * point[0] - B) % P:
        return False
    numbers = _parse(signature)
    if numbers is None or not (1 <= numbers[0] < N and 1 <= numbers[1] < N):
        return False
    r, s = numbers
    inverse = pow(s, -1, N)
    found = _add(_times(int.from_bytes(digest, "big") * inverse % N, G), _times(r * inverse % N, point))
    return found is not None and found[0] % N == r
