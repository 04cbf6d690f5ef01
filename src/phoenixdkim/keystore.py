"""Private keys in PEM files: loaded once, refused when others can read or replace them."""

from __future__ import annotations

import base64
import os
import pwd
import shlex
import stat
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from phoenixdkim.dkim.results import Algorithm

_MAX_OCTETS: Final = 65536
_MAX_LINKS: Final = 40
PrivateKey = RSAPrivateKey | Ed25519PrivateKey


class Permissions(StrEnum):
    """What to do about a key file that others can read or replace."""

    STRICT = "strict"
    WARN = "warn"
    OFF = "off"


@dataclass(frozen=True, slots=True)
class KeyFault:
    """What is wrong with a key file; the message names the path component and the command that mends it."""

    path: str
    message: str

    def __str__(self) -> str:
        return f"{self.path}: {self.message}"


class KeyStoreError(Exception):
    """A key can't be loaded; ``fault`` says why."""

    def __init__(self, path: str, message: str) -> None:
        super().__init__(f"{path}: {message}")
        self.fault = KeyFault(path, message)


def algorithm_of(key: PrivateKey) -> Algorithm:
    """The algorithm that a key signs with."""
    return Algorithm.ED25519_SHA256 if isinstance(key, Ed25519PrivateKey) else Algorithm.RSA_SHA256


def load_private_key(
    path: str, *, permissions: Permissions, owners: frozenset[int], min_rsa_bits: int = 1024
) -> tuple[PrivateKey, tuple[KeyFault, ...]]:
    """Load a key.

    Args:
        path: absolute path of a PEM file: PKCS#1, PKCS#8 or Ed25519.
        permissions: how strict to be.
        owners: user ids that may own the file and its directories; root may always.
        min_rsa_bits: a smaller RSA key is refused (RFC 8301 section 3.2).

    Returns:
        The key, and faults of permission when ``permissions`` is ``WARN``.

    Raises:
        KeyStoreError: it can't be used.
    """
    data, faults = _read(path, owners)
    if faults and permissions is Permissions.STRICT:
        raise KeyStoreError(faults[0].path, faults[0].message)
    key = _decode(path, data)
    if isinstance(key, RSAPrivateKey) and key.key_size < min_rsa_bits:
        raise KeyStoreError(
            path, f"an RSA key of {key.key_size} bits; at least {min_rsa_bits} are needed, 2048 advised (RFC 8301)"
        )
    return key, tuple(faults) if permissions is Permissions.WARN else ()


def _read(path: str, owners: frozenset[int]) -> tuple[bytes, list[KeyFault]]:
    if not path.startswith("/") or "\0" in path:
        raise KeyStoreError(path.replace("\0", "?"), "write the absolute path of the key file")
    try:
        # Nothing is asked by name before: what is opened here is what is judged and read.
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError as error:
        raise KeyStoreError(path, "there is no such file; make a key or correct the path") from error
    except PermissionError as error:
        raise KeyStoreError(path, f"user id {os.geteuid()} may not read it") from error
    except OSError as error:
        what = "a symbolic link; name the file itself" if os.path.islink(path) else str(error.strerror)
        raise KeyStoreError(path, what) from error
    try:
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode):
            raise KeyStoreError(path, "it is no regular file")
        if found.st_size == 0:
            raise KeyStoreError(path, "the file is empty")
        if found.st_size > _MAX_OCTETS:
            raise KeyStoreError(path, f"the file has {found.st_size} octets; that is no PEM key")
        faults = _file_faults(path, found, owners) + _parent_faults(path, owners)
        return os.read(fd, _MAX_OCTETS), faults
    finally:
        os.close(fd)


def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user id {uid}"


def _file_faults(path: str, found: os.stat_result, owners: frozenset[int]) -> list[KeyFault]:
    mode = stat.S_IMODE(found.st_mode)
    if found.st_uid != 0 and found.st_uid not in owners:
        return [
            KeyFault(
                path, f"it belongs to {_user(found.st_uid)}, who could replace it; run: chown root {shlex.quote(path)}"
            )
        ]
    # A group may read it (and root's group often must), but not write it; nobody else may do either.
    if mode & 0o027:
        return [
            KeyFault(
                path,
                f"its mode is {mode:04o}, so that others can read or write it; run: chmod 0640 {shlex.quote(path)}",
            )
        ]
    return []


def _parent_faults(path: str, owners: frozenset[int]) -> list[KeyFault]:
    """The first fault of a directory on the way to the file.

    Symbolic links are followed here one by one, since whoever may write to a directory that a link leads through can
    replace the key too.
    """
    pending = [part for part in reversed(path.split("/")) if part not in ("", ".")]
    current = "/"
    links = 0
    while pending:
        part = pending.pop()
        if part == "..":
            current = os.path.dirname(current)
            continue
        entry = os.path.join(current, part)
        child = os.lstat(entry)
        fault = _directory_fault(current, os.stat(current), child, owners)
        if fault is not None:
            return [fault]
        if not stat.S_ISLNK(child.st_mode):
            current = entry
            continue
        links += 1
        if links > _MAX_LINKS:
            raise KeyStoreError(path, "too many symbolic links on the way to it")
        target = os.readlink(entry)
        if target.startswith("/"):
            current = "/"
        pending.extend(part for part in reversed(target.split("/")) if part not in ("", "."))
    return []


def _directory_fault(
    path: str, found: os.stat_result, child: os.stat_result, owners: frozenset[int]
) -> KeyFault | None:
    mode = stat.S_IMODE(found.st_mode)
    if found.st_uid != 0 and found.st_uid not in owners:
        return KeyFault(
            path,
            f"the directory belongs to {_user(found.st_uid)}, who could replace what is in it;"
            f" run: chown root {shlex.quote(path)}",
        )
    # In a sticky directory others can't rename or remove what is not theirs.
    sticky = mode & stat.S_ISVTX and (child.st_uid == 0 or child.st_uid in owners)
    if mode & 0o022 and not sticky:
        return KeyFault(
            path,
            f"the directory's mode is {mode:04o}, so that others can replace what is in it;"
            f" run: chmod go-w {shlex.quote(path)}",
        )
    return None


def _decode(path: str, data: bytes) -> PrivateKey:
    if b"PRIVATE KEY-----" not in data:
        if b"PUBLIC KEY-----" in data:
            raise KeyStoreError(path, "this is the public half; the private key is needed")
        raise KeyStoreError(path, "this is no private key in PEM form (-----BEGIN PRIVATE KEY-----)")
    try:
        key = load_pem_private_key(data, password=None)
    except TypeError as error:
        raise KeyStoreError(
            path,
            "the key is encrypted; a daemon has nobody to ask."
            f" Decrypt it: openssl pkey -in {shlex.quote(path)} -out NEW",
        ) from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise KeyStoreError(path, "the PEM text is damaged or of an unknown kind") from error
    if not isinstance(key, (RSAPrivateKey, Ed25519PrivateKey)):
        raise KeyStoreError(path, f"a key of kind {type(key).__name__.strip('_')}; RSA or Ed25519 is needed")
    return key


def make_private_key(algorithm: Algorithm, bits: int = 2048) -> bytes:
    """Make a key; returns it as PEM (PKCS#8).

    Raises:
        ValueError: no algorithm to sign with, or too few bits.
    """
    if algorithm is Algorithm.ED25519_SHA256:
        made: PrivateKey = Ed25519PrivateKey.generate()
    elif algorithm is Algorithm.RSA_SHA256 and bits >= 1024:
        made = rsa.generate_private_key(public_exponent=65537, key_size=bits)
    else:
        raise ValueError(f"no key of {algorithm} with {bits} bits can be made")
    return made.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def public_record(private: PrivateKey) -> bytes:
    """The text of the key record that belongs to a private key (RFC 6376 section 3.6.1, RFC 8463 section 4)."""
    public = private.public_key()
    if isinstance(private, Ed25519PrivateKey):
        raw = public.public_bytes(Encoding.Raw, PublicFormat.Raw)
        return b"v=DKIM1; k=ed25519; p=" + base64.b64encode(raw)
    der = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return b"v=DKIM1; k=rsa; p=" + base64.b64encode(der)
