from __future__ import annotations

import os
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from phoenixdkim.dkim.keys import KeyType, parse_key_record
from phoenixdkim.dkim.limits import Limits
from phoenixdkim.dkim.results import Algorithm
from phoenixdkim.keystore import (
    KeyStoreError,
    Permissions,
    algorithm_of,
    load_private_key,
    make_private_key,
    public_record,
)

OWNERS = frozenset((os.getuid(),))
PEM = make_private_key(Algorithm.ED25519_SHA256)
STRICT, WARN, OFF = Permissions.STRICT, Permissions.WARN, Permissions.OFF


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    """A directory in which the only faults are those that a test makes."""
    for directory in (tmp_path, tmp_path.parent):
        directory.chmod(0o700)
    made = tmp_path / "keys"
    made.mkdir(mode=0o700)
    return made


def written(path: Path, data: bytes = PEM, mode: int = 0o600) -> Path:
    path.write_bytes(data)
    path.chmod(mode)
    return path


def fault(path: Path | str, permissions: Permissions = STRICT, owners: frozenset[int] = OWNERS) -> str:
    with pytest.raises(KeyStoreError) as caught:
        load_private_key(str(path), permissions=permissions, owners=owners)
    assert str(caught.value) == str(caught.value.fault)
    return str(caught.value)


def pem(key: object, how: PrivateFormat = PrivateFormat.PKCS8, password: bytes = b"") -> bytes:
    encryption = BestAvailableEncryption(password) if password else NoEncryption()
    return key.private_bytes(Encoding.PEM, how, encryption)  # type: ignore[attr-defined,no-any-return]


SMALL = rsa.generate_private_key(public_exponent=65537, key_size=1024)


def test_loads(keys: Path) -> None:
    for data, algorithm in (
        (PEM, Algorithm.ED25519_SHA256),
        (pem(SMALL), Algorithm.RSA_SHA256),
        (pem(SMALL, PrivateFormat.TraditionalOpenSSL), Algorithm.RSA_SHA256),
        (pem(SMALL).replace(b"\n", b"\r\n"), Algorithm.RSA_SHA256),
    ):
        key, warnings = load_private_key(str(written(keys / "k.pem", data)), permissions=STRICT, owners=OWNERS)
        assert algorithm_of(key) is algorithm and warnings == ()


@pytest.mark.parametrize(
    "mode, fine",
    [(mode, True) for mode in (0o600, 0o400, 0o640, 0o440)]
    + [(mode, False) for mode in (0o644, 0o660, 0o604, 0o602, 0o620, 0o777)],
)
def test_f1_modes(keys: Path, mode: int, fine: bool) -> None:
    path = written(keys / "k.pem", mode=mode)
    if fine:
        assert load_private_key(str(path), permissions=STRICT, owners=OWNERS)[1] == ()
        return
    text = fault(path)
    assert f"{mode:04o}" in text and f"chmod 0640 {path}" in text
    _, warnings = load_private_key(str(path), permissions=WARN, owners=OWNERS)
    assert [warning.path for warning in warnings] == [str(path)]
    assert load_private_key(str(path), permissions=OFF, owners=OWNERS)[1] == ()


@pytest.mark.parametrize("mode", [0o770, 0o777, 0o702, 0o720])
def test_f1_directory_others_can_write(keys: Path, mode: int) -> None:
    path = written(keys / "k.pem")
    keys.chmod(mode)
    text = fault(path)
    assert text.startswith(f"{keys}: ") and f"chmod go-w {keys}" in text
    keys.chmod(mode | 0o1000)  # sticky: others can't replace what is ours
    load_private_key(str(path), permissions=STRICT, owners=OWNERS)


def test_f1_grandparent_others_can_write(keys: Path) -> None:
    path = written(keys / "k.pem")
    keys.parent.chmod(0o777)
    assert fault(path).startswith(f"{keys.parent}: ")


def test_f1_directory_behind_a_symbolic_link(keys: Path) -> None:
    """Whoever may write where a linked directory lies can replace the key."""
    real = keys / "open" / "real"
    real.mkdir(parents=True, mode=0o700)
    written(real / "k.pem")
    (keys / "link").symlink_to(real)
    (keys / "relative").symlink_to("open/../open/real")
    for name in ("link", "relative"):
        load_private_key(str(keys / name / "k.pem"), permissions=STRICT, owners=OWNERS)
    (keys / "open").chmod(0o777)
    for name in ("link", "relative"):
        assert fault(keys / name / "k.pem").startswith(f"{keys / 'open'}: ")


def test_f1_owners(keys: Path) -> None:
    path = written(keys / "k.pem")
    uid = os.getuid()
    if uid == 0:
        # Root may own all; only root can give away what it owns.
        uid = 12345
        os.chown(path, uid, -1)
        assert "chown root" in fault(path)
        load_private_key(str(path), permissions=STRICT, owners=frozenset((uid,)))
        os.chown(path, 0, -1)
        os.chown(keys, uid, -1)
        assert fault(path).startswith(f"{keys}: the directory belongs to")
    else:
        assert "chown root" in fault(path, owners=frozenset())


@pytest.mark.parametrize("permissions", list(Permissions))
@pytest.mark.parametrize(
    "data, words",
    [
        (b"", "empty"),
        (b"x" * 10_000_000, "10000000 octets"),
        (b"hello", "no private key"),
        (b"\xff\0" * 50, "no private key"),
        (SMALL.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo), "public half"),
        (pem(SMALL, password=b"x"), "encrypted"),
        (pem(SMALL, PrivateFormat.TraditionalOpenSSL, b"x"), "encrypted"),
        (pem(ec.generate_private_key(ec.SECP256R1())), "RSA or Ed25519"),
        (pem(SMALL)[:400] + b"\n-----END PRIVATE KEY-----\n", "damaged"),
        (b"-----BEGIN PRIVATE KEY-----\n-----END PRIVATE KEY-----\n", "damaged"),
    ],
)
def test_f2_content(keys: Path, permissions: Permissions, data: bytes, words: str) -> None:
    path = written(keys / "k.pem", data)
    text = fault(path, permissions)
    assert text.startswith(f"{path}: ") and words in text


def test_f2_what_is_no_file(keys: Path) -> None:
    path = written(keys / "k.pem")
    (keys / "link").symlink_to(path)
    assert "symbolic link" in fault(keys / "link")
    (keys / "dangling").symlink_to(keys / "none")
    assert "symbolic link" in fault(keys / "dangling")
    os.mkfifo(keys / "fifo")
    assert "regular" in fault(keys / "fifo")  # and does not wait for a writer
    assert "regular" in fault(keys)
    assert "regular" in fault("/dev/null")
    assert "no such file" in fault(keys / "none")
    assert "absolute" in fault("k.pem")
    assert "absolute" in fault("/k\0.pem")
    assert fault(path / "below")


def test_s06_small_rsa_key(keys: Path) -> None:
    path = written(keys / "k.pem", pem(SMALL))
    with pytest.raises(KeyStoreError, match="1024 bits; at least 2048"):
        load_private_key(str(path), permissions=OFF, owners=OWNERS, min_rsa_bits=2048)


def test_s06_generated_keys_and_their_records(keys: Path) -> None:
    for algorithm, kind, bits in (
        (Algorithm.RSA_SHA256, KeyType.RSA, 2048),
        (Algorithm.ED25519_SHA256, KeyType.ED25519, 256),
    ):
        path = written(keys / "k.pem", make_private_key(algorithm))
        key, _ = load_private_key(str(path), permissions=STRICT, owners=OWNERS)
        record = parse_key_record(public_record(key), Limits())
        assert (record.type, record.bits) == (kind, bits)
    for algorithm, size in ((Algorithm.RSA_SHA1, 2048), (Algorithm.OTHER, 2048), (Algorithm.RSA_SHA256, 1023)):
        with pytest.raises(ValueError, match="no key"):
            make_private_key(algorithm, size)
