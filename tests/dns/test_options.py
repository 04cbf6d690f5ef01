"""Name server addresses."""

import pytest

from phoenixdkim.dns.options import Nameserver, parse_nameserver


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("127.0.0.1", "127.0.0.1", 53),
        ("127.0.0.1:5353", "127.0.0.1", 5353),
        ("::1", "::1", 53),
        ("[::1]", "::1", 53),
        ("[::1]:5353", "::1", 5353),
        ("fe80::1%eth0", "fe80::1%eth0", 53),
    ],
)
def test_nameserver(text, host, port):
    assert parse_nameserver(text) == Nameserver(host, port)


@pytest.mark.parametrize("text", ["", "ns.example", "127.0.0.1:0", "127.0.0.1:65536", "127.0.0.1:x", "[::1", "[::1]53"])
def test_no_nameserver(text):
    with pytest.raises(ValueError, match="is no name server"):
        parse_nameserver(text)
