"""Check the numbers of RSA private keys by arithmetic (RFC 8017 section 3).

The library's own check tests both primes for primality at every load: 37 ms for 2048 bits. A generated key needs no
such test; a damaged or mistyped one fails here, in 16 to 31 microseconds. Numbers that only pretend to be primes can
pass: the first signature of each key is verified before it is used (``phoenixdkim.dkim.sign``).
"""

from __future__ import annotations

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from phoenixdkim.dkim.limits import Limits
from phoenixdkim.dkim.sign import MIN_RSA_BITS


def rsa_fault(key: RSAPrivateKey, limits: Limits) -> str:
    """Return what is wrong with an RSA key; empty when nothing is.

    Sizes are checked first: they bound the arithmetic.

    Args:
        key: loaded without check.
        limits: bounds of modulus and exponent.
    """
    bits = key.key_size
    # A lower limit is for verifying only: a signer must not use less (RFC 8301 section 3.2).
    least = max(MIN_RSA_BITS, limits.min_rsa_bits)
    if bits < least:
        return f"an RSA key of {bits} bits; at least {least} are required, 2048 recommended (RFC 8301)"
    if bits > limits.max_rsa_bits:
        return f"an RSA key of {bits} bits; limits.max_rsa_bits allows {limits.max_rsa_bits}"
    numbers = key.private_numbers()
    modulus, exponent = numbers.public_numbers.n, numbers.public_numbers.e
    p, q, d = numbers.p, numbers.q, numbers.d
    if exponent < 3 or exponent % 2 == 0:
        return f"an RSA key with public exponent {_short(exponent)}; an odd number of at least 3 is required"
    if exponent.bit_length() > limits.max_exponent_bits:
        return (
            f"an RSA key with a public exponent of {exponent.bit_length()} bits;"
            f" limits.max_exponent_bits allows {limits.max_exponent_bits}"
        )
    if modulus % 2 == 0:
        return _damaged("the modulus is even")
    if p <= 1 or q <= 1 or p == q or p % 2 == 0 or q % 2 == 0 or p * q != modulus:
        return _damaged("the modulus is not the product of the two primes")
    if not 0 < d < modulus:
        return _damaged("the private exponent is out of range")
    product = exponent * d
    if product % (p - 1) != 1 or product % (q - 1) != 1:
        return _damaged("the private exponent does not belong to the public one")
    if numbers.dmp1 != d % (p - 1) or numbers.dmq1 != d % (q - 1) or not _inverse(numbers.iqmp, q, p):
        return _damaged("the CRT values (dP, dQ, qInv) do not belong to the primes")
    return ""


def _inverse(inverse: int, q: int, p: int) -> bool:
    return 0 < inverse < p and inverse * q % p == 1


def _damaged(what: str) -> str:
    return f"the RSA key is damaged: {what}; restore it from a copy, or generate a new key"


def _short(number: int) -> str:
    return str(number) if number < 1 << 64 else f"of {number.bit_length()} bits"
