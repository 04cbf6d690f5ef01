"""Shared fixtures: keys, a daemon and a Postfix that uses it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from integration.daemon import Daemon
from integration.postfix import Postfix
from interop.peers import KeyPair


@pytest.fixture(scope="session")
def rsa_key() -> KeyPair:
    return KeyPair.rsa("example.com")


@pytest.fixture(scope="session")
def ed25519_key() -> KeyPair:
    return KeyPair.ed25519("example.com")


@pytest.fixture(scope="session")
def peer_key() -> KeyPair:
    """Key of another site, published."""
    return KeyPair.rsa("example.org", "peer")


@pytest.fixture(scope="session")
def daemon(rsa_key: KeyPair, ed25519_key: KeyPair, peer_key: KeyPair) -> Iterator[Daemon]:
    with Daemon([rsa_key, ed25519_key], [peer_key]) as running:
        yield running


@pytest.fixture(scope="session")
def mta(daemon: Daemon) -> Iterator[Postfix]:
    with Postfix(daemon.milter, daemon.log) as running:
        yield running
