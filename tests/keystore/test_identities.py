"""Whether key files are those that were loaded."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from key_files import ED25519, private_directory, written
from phoenixdkim.dkim.limits import Limits
from phoenixdkim.keystore import KeyStore, KeyStoreError, Permissions
from phoenixdkim.keystore.identities import Identities, unchanged

OWNERS = frozenset((os.getuid(),))


def loaded(*paths: Path) -> bytes:
    identities = Identities()
    store = KeyStore(Permissions.STRICT, OWNERS, Limits(), identities)
    for path in paths:
        try:
            store.load(str(path))
        except KeyStoreError:
            pass
    return identities.encode()


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    return private_directory(tmp_path)


def test_nothing_changed(keys: Path) -> None:
    path = written(keys / "k.pem")
    (keys / "link").symlink_to("k.pem")
    encoded = loaded(path, keys / "link", keys / "missing", written(keys / "broken", b"x"))
    path.read_bytes()
    written(keys / "unrelated")
    assert unchanged(encoded)


def test_each_change_shows(keys: Path) -> None:
    path, link = keys / "k.pem", keys / "link"
    (keys / "sub").mkdir(mode=0o700)

    def rewrite() -> None:
        path.write_bytes(ED25519 + b"\n")

    def rewrite_with_old_time() -> None:
        before = path.stat()
        path.write_bytes(path.read_bytes()[::-1])
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))

    def replace() -> None:
        written(keys / "new").rename(path)

    def chmod() -> None:
        path.chmod(0o640)

    def remove() -> None:
        path.unlink()

    def relink() -> None:
        link.unlink()
        link.symlink_to("other.pem")

    def open_directory() -> None:
        keys.chmod(0o770)

    def replace_directory() -> None:
        keys.rename(keys.parent / "old")
        keys.mkdir(mode=0o700)
        for name in ("k.pem", "link", "other.pem"):
            (keys.parent / "old" / name).rename(keys / name)

    changes = (rewrite, rewrite_with_old_time, replace, chmod, remove, relink, open_directory, replace_directory)
    for change in changes:
        keys.chmod(0o700)
        written(path)
        written(keys / "other.pem")
        link.unlink(missing_ok=True)
        link.symlink_to("k.pem")
        encoded = loaded(path, link)
        assert unchanged(encoded)
        change()
        assert not unchanged(encoded), change


def test_a_missing_key_that_appears(keys: Path) -> None:
    (keys / "link").symlink_to("k.pem")
    encoded = loaded(keys / "link")
    assert unchanged(encoded)
    written(keys / "k.pem")
    assert not unchanged(encoded)


def test_a_key_refused_for_its_directory(keys: Path) -> None:
    """The key itself stays the same when its directory is corrected."""
    path = written(keys / "k.pem")
    keys.chmod(0o777)
    encoded = loaded(path)
    assert unchanged(encoded)
    keys.chmod(0o700)
    assert not unchanged(encoded)


FOREIGN = (b"", b"x", b"\xff", b"{}", b"[]", b"[{}]", b"[1,2]", b"[{},{},{}]", b'[{"/":1},{}]', b'[{"/":["x"]},{}]')


@pytest.mark.parametrize("octets", [*FOREIGN, b'[{"\\u0000":[1]},{}]', b"[" * 100_000])
def test_what_is_not_from_us_counts_as_changed(octets: bytes) -> None:
    assert not unchanged(octets)
