"""The judges, one process each for all tests."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from interop.judges import Dkimpy, mail_dkim, mailauth
from interop.opendkim import OpenDkim
from interop.panel import Panel
from interop.peers import KeyPair


@pytest.fixture(scope="session")
def panel() -> Iterator[Panel]:
    keys = (KeyPair.rsa("example.com"), KeyPair.ed25519("example.com"))
    with ExitStack() as stack:
        judges = (
            Dkimpy(),
            stack.enter_context(mail_dkim()),
            stack.enter_context(mailauth()),
            stack.enter_context(OpenDkim(keys)),
        )
        yield Panel(keys, judges)
