"""Fixtures of the tests with a Collector."""

from __future__ import annotations

import pytest

from interop.peers import KeyPair


@pytest.fixture(scope="session")
def key() -> KeyPair:
    return KeyPair.rsa("example.com")
