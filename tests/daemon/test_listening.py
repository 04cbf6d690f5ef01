"""The listening socket: what connections inherit from it."""

from __future__ import annotations

import socket

import pytest

from phoenixdkim.daemon.listening import listen


@pytest.mark.parametrize("host, family", [("127.0.0.1", socket.AF_INET), ("[::1]", socket.AF_INET6)])
def test_connections_do_not_wait_to_fill_packets(host: str, family: socket.AddressFamily) -> None:
    listening = listen(f"inet:0@{host}", 0o660, "", {})
    try:
        listening.socket.setblocking(True)
        with socket.socket(family) as client:
            client.connect(listening.socket.getsockname()[:2])
            with listening.socket.accept()[0] as accepted:
                # Without it, libmilter's two small writes wait 44 ms for each other.
                assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    finally:
        listening.close()
