"""Loading: each content once, in little processor time, and proven before a signature leaves."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from key_files import ED25519, OTHER, SMALL, Numbers, armour, pem, private_directory, written
from phoenixdkim.dkim.limits import Limits
from phoenixdkim.keystore import KeyStore, KeyStoreError, Permissions, algorithm_of, load_private_key, store
from phoenixdkim.keystore.formats import PrivateKey, decode

OWNERS = frozenset((os.getuid(),))


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    return private_directory(tmp_path)


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Paths whose content was decoded."""
    paths: list[str] = []

    def counting(path: str, data: bytes) -> PrivateKey:
        paths.append(path)
        return decode(path, data)

    monkeypatch.setattr(store, "decode", counting)
    return paths


def strict() -> KeyStore:
    return KeyStore(Permissions.STRICT, OWNERS, Limits())


def test_each_content_is_loaded_once(keys: Path, decoded: list[str]) -> None:
    paths = [str(written(keys / f"{number}.pem", pem(SMALL))) for number in range(200)]
    (keys / "link.pem").symlink_to("7.pem")
    os.link(keys / "8.pem", keys / "hard.pem")
    found = strict()
    loaded = [found.load(path) for path in paths * 2 + [str(keys / "link.pem"), str(keys / "hard.pem")]]
    assert len(decoded) == 1
    assert len({id(key.private) for key in loaded}) == len({id(key.first) for key in loaded}) == 1
    assert found.load(str(written(keys / "other.pem", pem(OTHER)))).private is not loaded[0].private
    assert len(decoded) == 2


def test_permissions_count_for_each_file(keys: Path) -> None:
    """A copy that others can read is refused, though its content has been loaded from a good file."""
    found = strict()
    found.load(str(written(keys / "good.pem")))
    for _ in range(2):
        with pytest.raises(KeyStoreError, match="mode 0644"):
            found.load(str(written(keys / "bad.pem", mode=0o644)))
    lenient = KeyStore(Permissions.WARN, OWNERS, Limits())
    assert lenient.load(str(keys / "good.pem")).warnings == ()
    assert [fault.path for fault in lenient.load(str(keys / "bad.pem")).warnings] == [str(keys / "bad.pem")]


def test_an_error_is_found_once(keys: Path, decoded: list[str]) -> None:
    path = str(written(keys / "bad.pem", armour(Numbers.of(SMALL).but(d=3).der(), "RSA PRIVATE KEY")))
    found = strict()
    for _ in range(3):
        with pytest.raises(KeyStoreError, match="private exponent"):
            found.load(path)
    assert len(decoded) == 1


def test_s06_small_rsa_key(keys: Path) -> None:
    path = written(keys / "k.pem", pem(SMALL))
    with pytest.raises(KeyStoreError, match="1024 bits; at least 2048"):
        load_private_key(str(path), permissions=Permissions.OFF, owners=OWNERS, min_rsa_bits=2048)


def test_loading_takes_little_processor_time(keys: Path) -> None:
    """Beside the library's own check, which takes the time of a hundred loads."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    paths = [str(written(keys / f"{number}.pem", pem(key) + b"#%d" % number)) for number in range(100)]
    found = strict()
    started = time.process_time()
    for path in paths:
        found.load(path)
    ours = time.process_time() - started
    started = time.process_time()
    for path in paths[:10]:
        load_pem_private_key(Path(path).read_bytes(), None)
    checked = 10 * (time.process_time() - started)
    assert ours < checked / 20


@pytest.mark.long
def test_ten_thousand_keys(keys: Path) -> None:
    primes: list[int] = []
    while len(primes) < 145:
        numbers = rsa.generate_private_key(public_exponent=65537, key_size=2048).private_numbers()
        primes += [numbers.p, numbers.q]
    paths = []
    for at, p in enumerate(primes):
        for q in primes[:at]:
            d = pow(65537, -1, (p - 1) * (q - 1))
            whole = Numbers(p * q, 65537, d, p, q, d % (p - 1), d % (q - 1), pow(q, -1, p))
            paths.append(str(written(keys / f"{len(paths)}.pem", armour(whole.der(), "RSA PRIVATE KEY"))))
    assert len(paths) > 10_000
    found = strict()
    started = time.process_time()
    loaded = [found.load(path) for path in paths[:10_000]]
    assert time.process_time() - started < 3
    assert len({id(key.private) for key in loaded}) == 10_000


def test_a_loaded_key_signs(keys: Path) -> None:
    for name, data in (("rsa", pem(SMALL)), ("ed", ED25519)):
        loaded = strict().load(str(written(keys / name, data)))
        assert loaded.first.private is None
        assert isinstance(loaded.private, RSAPrivateKey) == (algorithm_of(loaded.private) == "rsa-sha256")
