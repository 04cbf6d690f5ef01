"""A scripted name server, and resolvers that ask it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest

from phoenixdkim.dkim.limits import Limits
from phoenixdkim.dns import Resolver, ResolverOptions
from phoenixdkim.testing.dns_server import ScriptedDnsServer


@pytest.fixture
def server() -> Iterator[ScriptedDnsServer]:
    with ScriptedDnsServer() as running:
        yield running


@pytest.fixture
def make() -> Iterator[Callable[..., Resolver]]:
    """Makes resolvers that ask the servers given, with short deadlines and without a probe."""
    made = []

    def build(
        *servers: str, clock: Callable[[], float] = time.monotonic, wait_for_probe: bool = False, **options: object
    ) -> Resolver:
        settings = {"query_timeout": 0.3, "message_timeout": 1.2, "dnssec_probe": ""} | options
        chosen = ResolverOptions(nameservers=servers, **settings)
        made.append(Resolver(chosen, Limits(), clock, wait_for_probe=wait_for_probe))
        return made[-1]

    yield build
    for resolver in made:
        resolver.close()
