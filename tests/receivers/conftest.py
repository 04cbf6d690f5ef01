"""Fixtures of the tests with the programs that administrators have."""

from __future__ import annotations

import pytest

from interop.peers import KeyPair


@pytest.fixture(scope="session")
def key() -> KeyPair:
    return KeyPair.rsa("example.com")
