"""Fixtures of the daemon's tests."""

from __future__ import annotations

import socket

import pytest

from interop.peers import KeyPair


@pytest.fixture(scope="session")
def key() -> KeyPair:
    return KeyPair.rsa("example.com")


@pytest.fixture
def free_port() -> int:
    """A loopback port that nobody has just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
