"""Generated keys and their records."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from key_files import private_directory, written
from phoenixdkim.dkim.keys import KeyType, parse_key_record
from phoenixdkim.dkim.limits import Limits
from phoenixdkim.dkim.results import Algorithm
from phoenixdkim.keystore import Permissions, load_private_key, make_private_key, public_record


def test_s06_generated_keys_and_their_records(tmp_path: Path) -> None:
    keys = private_directory(tmp_path)
    for algorithm, kind, bits in (
        (Algorithm.RSA_SHA256, KeyType.RSA, 2048),
        (Algorithm.ED25519_SHA256, KeyType.ED25519, 256),
    ):
        path = written(keys / "k.pem", make_private_key(algorithm))
        key, _ = load_private_key(str(path), permissions=Permissions.STRICT, owners=frozenset((os.getuid(),)))
        record = parse_key_record(public_record(key), Limits())
        assert (record.type, record.bits) == (kind, bits)
    for algorithm, size in ((Algorithm.RSA_SHA1, 2048), (Algorithm.OTHER, 2048), (Algorithm.RSA_SHA256, 1023)):
        with pytest.raises(ValueError, match="no key"):
            make_private_key(algorithm, size)
