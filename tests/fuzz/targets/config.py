"""Configuration files. Oracle: a configuration or at least one error, each fault with words and a line of the file."""

from __future__ import annotations

from collections.abc import Iterator

from fuzz.target import Target, check
from phoenixdkim.config.load import read_text


def execute(data: bytes) -> None:
    text = data.decode("utf-8", "replace")
    found = read_text(text, "f.toml")
    errors = [fault for fault in found.faults if fault.is_error]
    check((found.config is None) == bool(errors), "neither a configuration nor an error, or both", errors)
    for fault in found.faults:
        check(fault.message and 0 <= fault.line <= text.count("\n") + 1, "a fault", fault)


def seeds() -> Iterator[bytes]:
    yield b'[milter]\nsocket = "inet:8891@127.0.0.1"\nworkers = 2\n[verifying]\nauthserv_id = "mx.example.com"\n'
    yield (
        b'[signing]\ntrusted = ["127.0.0.0/8", "::1"]\n[[signing.rules]]\nfrom = "*@example.com"\nkeys = ["a"]\n'
        b'[keys.a]\ndomain = "example.com"\nselector = "s"\nfile = "/k"\n'
    )
    yield b'[dns]\nnameservers = ["127.0.0.1:53"]\n[exporters.http]\nlisten = "127.0.0.1:9323"\n[log]\nlevel = "x"\n'


TARGET = Target(
    execute,
    seeds,
    (
        *(b"[", b"]", b"[[", b"]]", b"=", b'"', b"'", b"\n", b"{", b"}", b",", b"true", b"1e9", b"nan", b"1979-05-27"),
        *(b"milter.", b"signing.rules", b"keys.", b"dns.", b"socket", b"workers", b"trusted", b"\\u0000", b'"""'),
    ),
    512,
)
