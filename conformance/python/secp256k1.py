"""Who signed: public key recovery on secp256k1 (SEC 1, section 4.1.6), and Ethereum's addresses."""

from keccak import keccak256

P = 2**256 - 2**32 - 977
N = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
G = (
    0x79BE667EF9DCBBAC55A06295CE870B07029BFCDB2DCE28D959F2815B16F81798,
    0x483ADA7726A3C4655DA4FBFC0E1108A8FD17B448A68554199C47D08FFB10D4B8,
    1,
)


class BadSignature(Exception):
    """It is not of the one form that there is, or no key fits it."""


# Points are (X, Y, Z), for x = X/Z^2 and y = Y/Z^3, so that only one division is needed in the end; Z = 0 is infinity.
INFINITY = (0, 1, 0)


def _double(p):
    x, y, z = p
    if not z or not y:
        return INFINITY
    square = y * y % P
    s, m = 4 * x * square % P, 3 * x * x % P
    doubled = (m * m - 2 * s) % P
    return doubled, (m * (s - doubled) - 8 * square * square) % P, 2 * y * z % P


def _add(p, q):
    if not p[2]:
        return q
    if not q[2]:
        return p
    pz, qz = p[2] * p[2] % P, q[2] * q[2] % P
    u, v = p[0] * qz % P, q[0] * pz % P
    s, t = p[1] * qz * q[2] % P, q[1] * pz * p[2] % P
    if u == v:
        return _double(p) if s == t else INFINITY
    h, r = v - u, t - s
    h2 = h * h % P
    h3, uh2 = h * h2 % P, u * h2 % P
    x = (r * r - h3 - 2 * uh2) % P
    return x, (r * (uh2 - x) - s * h3) % P, h * p[2] * q[2] % P


def _sum_of_products(a, p, b, q):
    """a*p + b*q, with the doublings shared."""
    both, result = _add(p, q), INFINITY
    for bit in range(255, -1, -1):
        result = _double(result)
        first, second = a >> bit & 1, b >> bit & 1
        if first or second:
            result = _add(result, both if first and second else p if first else q)
    return result


def recover(digest, signature):
    """The address (0x hex) whose key made a signature of 65 bytes over a digest of 32."""
    if len(signature) != 65:
        raise BadSignature("its length")
    r, s, v = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:64], "big"), signature[64]
    if not 1 <= r < N or not 1 <= s <= N // 2 or v not in (27, 28):
        raise BadSignature("its form")
    square = (pow(r, 3, P) + 7) % P
    y = pow(square, (P + 1) // 4, P)
    if y * y % P != square:
        raise BadSignature("its r is on no point")
    if y % 2 != v - 27:
        y = P - y
    inverse = pow(r, -1, N)
    e = int.from_bytes(digest, "big")
    x, y, z = _sum_of_products(s * inverse % N, (r, y, 1), -e * inverse % N, G)
    if not z:
        raise BadSignature("no key fits")
    per_z = pow(z, -1, P)
    coordinates = (x * per_z**2 % P).to_bytes(32, "big") + (y * per_z**3 % P).to_bytes(32, "big")
    return "0x" + keccak256(coordinates)[12:].hex()
