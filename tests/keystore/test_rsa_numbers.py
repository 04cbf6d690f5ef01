"""RSA keys whose numbers do not fit together are refused; valid ones pass."""

from __future__ import annotations

import itertools

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from key_files import OTHER, SMALL, Numbers, armour, pkcs8
from phoenixdkim.dkim.limits import Limits
from phoenixdkim.keystore import KeyStoreError
from phoenixdkim.keystore.formats import decode
from phoenixdkim.keystore.rsa_numbers import rsa_fault

GOOD = Numbers.of(SMALL)
FAR = Numbers.of(OTHER)
PHI = (GOOD.p - 1) * (GOOD.q - 1)
HUGE_E = next(e for e in itertools.count((1 << 5000) + 1, 2) if e % (GOOD.p - 1) and e % (GOOD.q - 1))


def judged(numbers: Numbers, limits: Limits | None = None) -> str:
    """What is said of a key, as PKCS#1 and as PKCS#8; empty when it is fine."""
    messages = set()
    for data in (armour(numbers.der(), "RSA PRIVATE KEY"), armour(pkcs8(numbers.der()))):
        try:
            key = decode("/k", data)
        except KeyStoreError as error:
            messages.add(error.fault.message)
            continue
        assert isinstance(key, RSAPrivateKey)
        messages.add(rsa_fault(key, limits or Limits()))
    assert len(messages) == 1
    return messages.pop()


@pytest.mark.parametrize(
    "numbers",
    [
        GOOD,
        FAR,
        # p < q is as good, if the CRT values say so too; d may be any that fits.
        Numbers(GOOD.n, GOOD.e, GOOD.d, GOOD.q, GOOD.p, GOOD.dq, GOOD.dp, pow(GOOD.p, -1, GOOD.q)),
        GOOD.but(d=pow(GOOD.e, -1, PHI)),
        Numbers.of(rsa.generate_private_key(public_exponent=3, key_size=1024)),
    ],
)
def test_valid(numbers: Numbers) -> None:
    assert judged(numbers) == ""


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"p": GOOD.p + 2}, "not the product"),
        ({"q": GOOD.q - 2}, "not the product"),
        ({"p": FAR.p}, "not the product"),
        ({"p": FAR.p, "q": FAR.q}, "not the product"),
        ({"n": FAR.n}, "not the product"),
        ({"n": GOOD.n + 2}, "not the product"),
        ({"n": GOOD.n + 1}, "even"),
        ({"p": 1, "q": GOOD.n}, "not the product"),
        ({"p": GOOD.n, "q": 1}, "not the product"),
        ({"p": 0}, "not the product"),
        ({"q": 0}, "not the product"),
        ({"p": GOOD.p, "q": GOOD.p}, "not the product"),
        ({"n": GOOD.p**2, "q": GOOD.p}, "not the product"),
        ({"n": 2 * GOOD.n, "p": 2 * GOOD.p}, "even"),
        ({"d": GOOD.d + 2}, "private exponent"),
        ({"d": FAR.d}, "private exponent"),
        ({"d": 1}, "private exponent"),
        ({"d": 0}, "private exponent"),
        ({"d": GOOD.d + GOOD.n * PHI}, "private exponent"),
        ({"e": 3}, "private exponent"),
        ({"dp": GOOD.dp + 2}, "CRT"),
        ({"dp": 0}, "CRT"),
        ({"dp": GOOD.dq, "dq": GOOD.dp}, "CRT"),
        ({"dp": GOOD.dp + GOOD.p - 1}, "CRT"),
        ({"dq": GOOD.dq - 2}, "CRT"),
        ({"qinv": GOOD.qinv + 1}, "CRT"),
        ({"qinv": 0}, "CRT"),
        ({"qinv": GOOD.qinv + GOOD.p}, "CRT"),
        ({"p": GOOD.q, "q": GOOD.p}, "CRT"),
        ({"p": GOOD.q, "q": GOOD.p, "dp": GOOD.dq, "dq": GOOD.dp}, "CRT"),
        ({"e": 1, "d": 1, "dp": 1, "dq": 1}, "public exponent 1"),
        ({"e": 0}, "public exponent 0"),
        ({"e": 65536}, "public exponent 65536"),
        ({"e": HUGE_E}, "public exponent of 5001 bits"),
        ({"e": GOOD.e + PHI}, "public exponent of"),
        ({"n": 0}, "0 bits"),
        ({"n": 0, "e": 0, "d": 0, "p": 0, "q": 0, "dp": 0, "dq": 0, "qinv": 0}, "0 bits"),
        ({"n": GOOD.n << 100_000 | 1}, "101024 bits; limits.max_rsa_bits allows 8192"),
    ],
)
def test_numbers_that_do_not_fit(changes: dict[str, int], words: str) -> None:
    assert words in judged(GOOD.but(**changes))


@pytest.mark.parametrize("changes", [{"n": -GOOD.n}, {"d": -GOOD.d}, {"p": -GOOD.p, "q": -GOOD.q}, {"e": -GOOD.e}])
def test_negative_numbers(changes: dict[str, int]) -> None:
    """Libraries read them as they like; none of it is a key."""
    assert judged(GOOD.but(**changes))


def test_sizes() -> None:
    tiny = Numbers.of(_of_size(512))
    assert "512 bits; at least 1024" in judged(tiny)
    assert "512 bits; at least 1024" in judged(tiny, Limits(min_rsa_bits=512))
    assert "1024 bits; at least 2048" in judged(GOOD, Limits(min_rsa_bits=2048))
    assert "1024 bits; limits.max_rsa_bits allows 1000" in judged(GOOD, Limits(max_rsa_bits=1000))
    assert "exponent of 17 bits" in judged(GOOD, Limits(max_exponent_bits=16))


def _of_size(bits: int) -> RSAPrivateKey:
    """A key smaller than the library generates: of the primes of larger ones."""
    size = bits // 2
    primes: list[int] = []
    candidate = (3 << size - 2) + 1
    while len(primes) < 2:
        candidate += 2
        if all(pow(base, candidate - 1, candidate) == 1 for base in (2, 3, 5, 7)) and (candidate - 1) % 65537:
            primes.append(candidate)
    p, q = primes
    d = pow(65537, -1, (p - 1) * (q - 1))
    numbers = rsa.RSAPrivateNumbers(
        p, q, d, d % (p - 1), d % (q - 1), pow(q, -1, p), rsa.RSAPublicNumbers(65537, p * q)
    )
    return numbers.private_key(unsafe_skip_rsa_key_validation=True)
