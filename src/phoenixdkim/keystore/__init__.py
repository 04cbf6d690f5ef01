"""Private keys: files, formats, checks and loading."""

from __future__ import annotations

from phoenixdkim.keystore.faults import KeyFault, KeyStoreError, OnMissingKey, Permissions
from phoenixdkim.keystore.formats import PrivateKey, algorithm_of
from phoenixdkim.keystore.generate import make_private_key, public_record
from phoenixdkim.keystore.store import KeyStore, LoadedKey, load_private_key

__all__ = [
    "KeyFault",
    "KeyStore",
    "KeyStoreError",
    "LoadedKey",
    "OnMissingKey",
    "Permissions",
    "PrivateKey",
    "algorithm_of",
    "load_private_key",
    "make_private_key",
    "public_record",
]
