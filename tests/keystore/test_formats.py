"""Formats of private keys: what is loaded, and the next step for everything else."""

from __future__ import annotations

import base64
import subprocess
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, x25519
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    pkcs12,
)
from cryptography.x509.oid import NameOID
from hypothesis import given, settings
from hypothesis import strategies as st

from key_files import ED25519, OTHER, SMALL, Numbers, armour, integer, pem, pkcs8
from phoenixdkim.dkim.limits import Limits
from phoenixdkim.dkim.results import Algorithm
from phoenixdkim.keystore import KeyStoreError, PrivateKey, algorithm_of, public_record
from phoenixdkim.keystore.formats import decode
from phoenixdkim.keystore.rsa_numbers import rsa_fault

RSA, ED = Algorithm.RSA_SHA256, Algorithm.ED25519_SHA256
TRADITIONAL = pem(SMALL, PrivateFormat.TraditionalOpenSSL)
PUBLIC = SMALL.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
ED_KEY = load_pem_private_key(ED25519, None)
assert isinstance(ED_KEY, Ed25519PrivateKey)
SEED = ED_KEY.private_bytes(Encoding.Raw, PrivateFormat.Raw, NoEncryption())
ED_PUBLIC = ED_KEY.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)

# Written by rspamd 3.4 (rspamadm dkim_keygen -t ed25519, and -t ed25519-seed), with their p=.
RSPAMD = b"m4flzvxCYcGW4omcXL1xoX4gUFuO/0Ts17HRFrljLrJz3Zd2E0hpcV1Ptcdf0qBBDdeZZ3sN4ypXW+HOd/OrWA=="
RSPAMD_PUBLIC = b"c92XdhNIaXFdT7XHX9KgQQ3XmWd7DeMqV1vhznfzq1g="
RSPAMD_SEED = b"2xb8Z2uistIkJtLQUk4qkQ+N6coz/3PpCFsrAGuXVY4="
RSPAMD_SEED_PUBLIC = b"xHXp/KY/qBokN0JxvRTlmMr8xsjc2y8JNH/cafya3cs="


def certificate() -> bytes:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "example.com")])
    now = datetime(2026, 1, 1)
    builder = x509.CertificateBuilder(name, name, SMALL.public_key(), 1, now, now + timedelta(days=1))
    return builder.sign(SMALL, SHA256()).public_bytes(Encoding.PEM)


def der(data: bytes) -> bytes:
    return base64.b64decode(b"".join(line for line in data.splitlines() if not line.startswith(b"-")))


def fault(data: bytes, path: str = "/k") -> str:
    with pytest.raises(KeyStoreError) as caught:
        decode(path, data)
    return caught.value.fault.message


def same(one: PrivateKey, other: PrivateKey) -> bool:
    return public_record(one) == public_record(other)


@pytest.mark.parametrize(
    "data, algorithm",
    [
        (ED25519, ED),
        (pem(SMALL), RSA),
        (TRADITIONAL, RSA),
        (pem(SMALL).replace(b"\n", b"\r\n"), RSA),
        (ED25519.replace(b"\n", b"\r\n"), ED),
        (b"\xef\xbb\xbf" + pem(SMALL), RSA),
        (b"\n\n  " + pem(SMALL).replace(b"\n", b"\n  "), RSA),  # indented, as out of a YAML file
        (pem(SMALL) + b"trailing junk \xff\0", RSA),
        (b"Bag Attributes\n    friendlyName: x\n" + pem(SMALL), RSA),
        (certificate() + pem(SMALL), RSA),
        (pem(SMALL) + certificate() + certificate(), RSA),
        (PUBLIC + ED25519, ED),
        (pem(SMALL).replace(b"\n", b"").replace(b"KEY-----", b"KEY-----\n", 1), RSA),  # one long line
        (RSPAMD, ED),
        (RSPAMD_SEED, ED),
        (base64.b64encode(der(pem(SMALL))), RSA),
        (base64.encodebytes(der(TRADITIONAL)), RSA),
        (base64.b64encode(der(ED25519)) + b"\r\n", ED),
    ],
)
def test_loaded(data: bytes, algorithm: Algorithm) -> None:
    assert algorithm_of(decode("/k", data)) is algorithm


@pytest.mark.parametrize("end", [b"", b"\n", b"\r\n", b" \n\n"])
def test_ed25519_of_dkimpy_and_rspamd(end: bytes) -> None:
    assert same(decode("/k", base64.b64encode(SEED) + end), ED_KEY)
    assert same(decode("/k", base64.b64encode(SEED + ED_PUBLIC) + end), ED_KEY)
    assert public_record(decode("/k", RSPAMD + end)).endswith(b"p=" + RSPAMD_PUBLIC)
    assert public_record(decode("/k", RSPAMD_SEED + end)).endswith(b"p=" + RSPAMD_SEED_PUBLIC)


def test_a_key_written_by_dkimpy(tmp_path: Path) -> None:
    dknewkey = pytest.importorskip("dkim.dknewkey")
    path, record = tmp_path / "k.key", tmp_path / "k.dns"
    dknewkey.ExtractEd25519PublicKey(str(record), dknewkey.GenEd25519Keys(str(path), verbose=False), verbose=False)
    assert public_record(decode("/k", path.read_bytes())) == record.read_bytes()
    assert "key record" in fault(record.read_bytes())


@pytest.mark.parametrize("position", [0, 31, 32, 63])
def test_public_half_that_does_not_match(position: int) -> None:
    octets = bytearray(SEED + ED_PUBLIC)
    octets[position] ^= 1
    assert "does not match its seed" in fault(base64.b64encode(octets))


@pytest.mark.parametrize(
    "data, words",
    [
        (b"hello", "no private key"),
        (b"\xff\0" * 50, "no private key"),
        (b"-----BEGIN GARBAGE-----\nAAAA\n-----END GARBAGE-----\n", "no private key in this PEM file"),
        (base64.b64encode(SEED[:31]), "base64 of 31 octets"),
        (base64.b64encode(b"0" + SEED[1:31]), "base64 of 31 octets"),  # 0x30 begins DER too
        (base64.b64encode(b"0\x80" + SEED[2:31]), "base64 of 31 octets"),
        (base64.b64encode(SEED + b"x"), "base64 of 33 octets"),
        (base64.b64encode(SEED + ED_PUBLIC[:31]), "base64 of 63 octets"),
        (base64.b64encode(SEED)[:-1], "complete?"),
        (base64.b64encode(pem(SMALL)), "base64 -d /k"),
        (base64.encodebytes(ED25519), "base64 -d /k"),
        (SEED.hex().encode(), "basenc -di --base16"),
        ((SEED + ED_PUBLIC).hex().upper().encode() + b"\n", "basenc -di --base16"),
        (base64.urlsafe_b64encode(b"\xff" * 48), "no private key"),
        (PUBLIC, "public half"),
        (SMALL.public_key().public_bytes(Encoding.PEM, PublicFormat.PKCS1), "public half"),
        (base64.b64encode(der(PUBLIC)), "a public key"),
        (public_record(SMALL), "key record"),
        (b'sel._domainkey IN TXT ( "v=DKIM1; k=ed25519; "\n\t"p=c92Xdh" ) ;\n', "key record"),
        (b"k=rsa; p=" + base64.b64encode(der(PUBLIC)), "key record"),
        (certificate(), "certificate"),
        (pem(SMALL, password=b"x"), "openssl pkey -in /k -out NEW"),
        (pem(SMALL, PrivateFormat.TraditionalOpenSSL, b"x"), "openssl pkey -in /k -out NEW"),
        (pem(ec.generate_private_key(ec.SECP256R1())), "type EC; an RSA or Ed25519"),
        (pem(ec.generate_private_key(ec.SECP256R1()), PrivateFormat.TraditionalOpenSSL), "type EC; an RSA or Ed25519"),
        (pem(ed448.Ed448PrivateKey.generate()), "type Ed448"),
        (pem(x25519.X25519PrivateKey.generate()), "type X25519"),
        (pem(dsa.generate_private_key(1024), PrivateFormat.TraditionalOpenSSL), "type DSA"),
        (pem(SMALL)[:400] + b"\n-----END PRIVATE KEY-----\n", "damaged"),
        (pem(SMALL)[:400], "'-----END PRIVATE KEY-----' is missing"),
        (pem(SMALL).replace(b"END PRIVATE", b"END RSA PRIVATE"), "is missing"),
        (pem(SMALL).replace(b"\n", b"\n!", 3), "invalid base64"),
        (b"-----BEGIN PRIVATE KEY-----\n-----END PRIVATE KEY-----\n", "damaged"),
        (pem(SMALL) + pem(OTHER), "2 private keys"),
        (pem(SMALL) * 3, "3 private keys"),
        (ED25519 + pem(SMALL, password=b"x"), "2 private keys"),
        (armour(Numbers.of(SMALL).der(), "PRIVATE KEY"), ""),
        (armour(pkcs8(Numbers.of(SMALL).der(1)), "PRIVATE KEY"), "more than two primes"),
        (armour(Numbers.of(SMALL).der(1, integer(3)), "RSA PRIVATE KEY"), "more than two primes"),
        (armour(der(PUBLIC), "PRIVATE KEY"), "a public key"),
        (armour(b"\x30\x03\x02\x01\x00"), "damaged"),
        (armour(b"\x30\x84\xff\xff\xff\xff\x02\x01\x00"), "damaged"),
        (armour(b"\x30"), "damaged"),
        (armour(der(ED25519).replace(b"\x2b\x65\x70", b"\x2b\x65\x71")), "damaged"),  # Ed448 of a wrong length
        (armour(der(ED25519).replace(b"\x2b\x65\x70", b"\x2b\x65\x6f")), "damaged"),  # X448 of a wrong length
        (der(pem(SMALL)), "openssl pkey -inform DER -in /k -out NEW"),
        (der(TRADITIONAL), "openssl pkey -inform DER -in /k -out NEW"),
        (der(certificate()), "certificate"),
        (SEED, "base64 -w 0 /k"),
        (SEED + ED_PUBLIC, "base64 -w 0 /k"),
    ],
)
def test_f2_refused(data: bytes, words: str) -> None:
    if not words:
        # PKCS#1 below the label of PKCS#8: the content decides.
        assert algorithm_of(decode("/k", data)) is RSA
        return
    assert words in fault(data)


def run(command: str, directory: Path) -> PrivateKey:
    """The key that a message's command writes to the file NEW."""
    subprocess.run(
        ["/bin/sh", "-ec", command], cwd=directory, check=True, capture_output=True, stdin=subprocess.DEVNULL
    )
    return decode("/k", (directory / "NEW").read_bytes())


@pytest.mark.parametrize("key", [SMALL, ED_KEY])
def test_commands_of_messages_work(tmp_path: Path, key: PrivateKey) -> None:
    path = tmp_path / "old key"
    refused = [
        (pem(key, PrivateFormat.OpenSSH), "convert it: "),
        (der(pem(key)), "convert it: "),
        (pkcs12.serialize_key_and_certificates(None, key, None, None, NoEncryption()), "convert it: "),  # type: ignore[arg-type]
        (base64.b64encode(pem(key)), "convert it: "),
    ]
    if key is ED_KEY:
        refused += [(octets.hex().encode() + b"\n", "convert it: ") for octets in (SEED, SEED + ED_PUBLIC)]
    for data, before in refused:
        path.write_bytes(data)
        message = fault(data, str(path))
        command = message.partition(before)[2]
        if "pkcs12" in command:
            command = command.replace(" -out", " -passin pass: -out")  # it would ask
        assert same(run(command, tmp_path), key)
    path.write_bytes(pem(key, password=b"secret"))
    command = fault(path.read_bytes(), str(path)).partition("run: ")[2]
    assert same(run(command.replace(" -out", " -passin pass:secret -out"), tmp_path), key)
    if isinstance(key, Ed25519PrivateKey):
        raw = key.private_bytes(Encoding.Raw, PrivateFormat.Raw, NoEncryption())
        path.write_bytes(raw)
        assert same(run(fault(raw, str(path)).partition("convert it: ")[2], tmp_path), key)


@pytest.mark.parametrize("passphrase", ["", "secret"])
@pytest.mark.parametrize("kind", ["ed25519", "rsa"])
def test_keys_of_openssh(tmp_path: Path, kind: str, passphrase: str) -> None:
    path = tmp_path / "id"
    command = ["ssh-keygen", "-q", "-t", kind, "-N", passphrase, "-f", str(path)]
    subprocess.run(command, check=True, capture_output=True)
    message = fault(path.read_bytes(), str(path))
    assert ("an encrypted key in OpenSSH" in message) == bool(passphrase)
    convert = message.partition("convert it: ")[2] or message.partition("convert the copy: ")[2]
    if passphrase:
        copy = message.partition("copy it (")[2].partition(")")[0]
        remove = message.partition("of the copy (")[2].partition(")")[0]
        convert = f"{copy}; {remove} -P secret; {convert}"
    assert algorithm_of(run(convert, tmp_path)) is (ED if kind == "ed25519" else RSA)
    assert (tmp_path / "NEW").stat().st_mode & 0o077 == 0


def test_encrypted_pkcs12_names_its_command() -> None:
    data = pkcs12.serialize_key_and_certificates(None, SMALL, None, None, BestAvailableEncryption(b"x"))
    assert "PKCS#12" in fault(data) and "openssl pkcs12 -in /k" in fault(data)


SEEDS = [
    ED25519,
    pem(SMALL),
    TRADITIONAL,
    PUBLIC,
    RSPAMD,
    RSPAMD_SEED,
    der(pem(SMALL)),
    der(TRADITIONAL),
    der(ED25519),
    base64.b64encode(der(pem(SMALL))),
    pem(SMALL, PrivateFormat.OpenSSH),
    pem(SMALL, password=b"x"),
    pem(SMALL) + ED25519,
]


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(SEEDS), st.data())
def test_any_change_is_an_error_or_a_key(seed: bytes, data: st.DataObject) -> None:
    """Whatever becomes of a file, reading it ends with a message or a key whose numbers were judged."""
    octets = bytearray(seed)
    for _ in range(data.draw(st.integers(0, 4))):
        at = data.draw(st.integers(0, len(octets)))
        end = at + data.draw(st.sampled_from([0, 1, 2, 8, 64, 4096]))
        octets[at:end] = data.draw(
            st.binary(max_size=8) | st.sampled_from([b"\n", b"-----BEGIN ", b"\x02\x01\x01", b"="])
        )
    try:
        key = decode("/k", bytes(octets))
    except KeyStoreError as error:
        assert error.fault.message
        return
    if isinstance(key, RSAPrivateKey):
        rsa_fault(key, Limits())


@settings(max_examples=300, deadline=None)
@given(st.sampled_from([der(pem(SMALL)), der(TRADITIONAL), der(ED25519)]), st.data())
def test_any_change_of_the_numbers_is_noticed(seed: bytes, data: st.DataObject) -> None:
    """One octet of the DER is another: refused, or the same key, or another Ed25519 seed."""
    at = data.draw(st.integers(0, len(seed) - 1))
    octets = bytearray(seed)
    octets[at] ^= data.draw(st.integers(1, 255))
    try:
        key = decode("/k", armour(bytes(octets)))
    except KeyStoreError:
        return
    if isinstance(key, RSAPrivateKey):
        assert rsa_fault(key, Limits()) or same(key, SMALL)
