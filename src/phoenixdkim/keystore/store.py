"""Load private keys: each content once, however many keys name it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Self

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from phoenixdkim.dkim.limits import Limits
from phoenixdkim.dkim.sign import FirstSignature
from phoenixdkim.keystore.faults import KeyFault, KeyStoreError, Permissions
from phoenixdkim.keystore.files import KeyFiles
from phoenixdkim.keystore.formats import PrivateKey, decode
from phoenixdkim.keystore.identities import Identities
from phoenixdkim.keystore.rsa_numbers import rsa_fault


@dataclass(frozen=True, slots=True)
class LoadedKey:
    """A private key in memory.

    Attributes:
        private: the key, its numbers checked.
        first: whether a signature of it has been verified; shared by all that use this content.
        warnings: who else can read or replace the file, when ``permissions`` is ``WARN``.
    """

    private: PrivateKey
    first: FirstSignature
    warnings: tuple[KeyFault, ...] = ()


class KeyStore:
    """Loads key files; a context, in which directories stay open."""

    def __init__(
        self, permissions: Permissions, owners: frozenset[int], limits: Limits, identities: Identities | None = None
    ) -> None:
        """Load nothing yet.

        Args:
            permissions: how strict to be about files that others can read or replace.
            owners: user ids that may own a file and what leads to it; root always may.
            limits: bounds of RSA keys.
            identities: is filled with what each file and directory was when it was read.
        """
        self._identities = Identities() if identities is None else identities
        self._permissions = permissions
        self._files = KeyFiles(owners)
        self._limits = limits
        self._paths: dict[str, LoadedKey | KeyStoreError] = {}
        self._contents: dict[bytes, tuple[PrivateKey, FirstSignature]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._files.close()

    def load(self, path: str) -> LoadedKey:
        """Return the key in a file; the file is read at the first call for its path.

        Raises:
            KeyStoreError: the key cannot be used.
        """
        known = self._paths.get(path)
        if known is None:
            try:
                known = self._load(path)
            except KeyStoreError as error:
                known = error
            self._paths[path] = known
        if isinstance(known, KeyStoreError):
            raise KeyStoreError(known.fault.path, known.fault.message)
        return known

    def _load(self, path: str) -> LoadedKey:
        # Before the file is read: what is replaced in between looks changed at the next comparison.
        self._identities.add_file(path)
        file = self._files.read(path)
        self._identities.add_directories(file.directories)
        if file.faults and self._permissions is Permissions.STRICT:
            raise KeyStoreError(file.faults[0].path, file.faults[0].message)
        digest = hashlib.sha256(file.data).digest()
        if digest not in self._contents:
            key = decode(path, file.data)
            if isinstance(key, RSAPrivateKey) and (fault := rsa_fault(key, self._limits)):
                raise KeyStoreError(path, fault)
            self._contents[digest] = key, FirstSignature()
        return LoadedKey(*self._contents[digest], file.faults if self._permissions is Permissions.WARN else ())


def load_private_key(
    path: str, *, permissions: Permissions, owners: frozenset[int], min_rsa_bits: int = 1024
) -> tuple[PrivateKey, tuple[KeyFault, ...]]:
    """Load one key; returns it, and faults of permission when ``permissions`` is ``WARN``.

    Args:
        path: absolute path of the file.
        permissions: how strict to be.
        owners: user ids that may own the file and what leads to it; root always may.
        min_rsa_bits: a smaller RSA key is refused (RFC 8301 section 3.2).

    Raises:
        KeyStoreError: the key cannot be used.
    """
    with KeyStore(permissions, owners, Limits(min_rsa_bits=min_rsa_bits)) as store:
        loaded = store.load(path)
    return loaded.private, loaded.warnings
