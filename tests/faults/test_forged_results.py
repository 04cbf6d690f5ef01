"""Fields that claim our name, through the real daemon: removed whatever becomes of the message (A06, A07, A09, K2)."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

import pytest

from integration.daemon import Daemon
from interop.peers import KeyPair
from phoenixdkim.testing.milter_client import MilterClient
from phoenixdkim.testing.milter_protocol import Field, apply
from requirement import requirement
from tables.authserv_ids import ROWS

PAIR = KeyPair.ed25519("example.com", "main")
STRANGER = "192.0.2.1"
FROM: Field = (b"From", b" a@example.com")
REST: list[Field] = [(b"To", b" b@example.net"), (b"Subject", b" hi")]
NAME = b"Authentication-Results"
OURS: list[Field] = [
    (NAME, b" mx.example; dkim=pass"),
    (NAME.upper(), b" =?utf-8?b?bXguZXhhbXBsZQ==?=; dkim=pass"),
    (NAME.lower(), b" mx.example:25; dkim=pass"),
]
THEIRS: list[Field] = [(NAME, b" mx%d.example; dkim=pass" % number) for number in range(3)]


@pytest.fixture(scope="module")
def daemon() -> Iterator[Daemon]:
    with Daemon([PAIR], workers=1) as running:
        yield running
        assert "internal error" not in running.log()


@pytest.fixture(scope="module")
def idle() -> Iterator[Daemon]:
    """A daemon that neither signs nor verifies."""
    with Daemon((), verifying_options="enabled = false", workers=1) as running:
        yield running


def results_left(
    daemon: Daemon, fields: Sequence[Field], body: bytes = b"text\r\n", client: str = STRANGER
) -> list[bytes]:
    """Return the Authentication-Results of the message as the MTA delivers it, without the one that was added."""
    with MilterClient(daemon.address) as milter:
        reply = milter.send_message(list(fields), body, client_address=client)
    added = sum(change.name == NAME and change.value != b"" for change in reply.modifications)
    left = [value for name, value in apply(reply, list(fields)) if name.lower() == NAME.lower()]
    return left[added:]


PATHS: dict[str, tuple[list[Field], bytes, str]] = {
    "signed": ([FROM, *REST], b"text\r\n", "127.0.0.1"),
    "verified": ([FROM, *REST], b"text\r\n", STRANGER),
    "no rule": ([(b"From", b" a@example.org"), *REST], b"text\r\n", "127.0.0.1"),
    "no From": (REST, b"text\r\n", "127.0.0.1"),
    "two From": ([FROM, FROM, *REST], b"text\r\n", "127.0.0.1"),
    "invalid From": ([(b"From", b" nobody"), *REST], b"text\r\n", "127.0.0.1"),
    "a long line": ([FROM, *REST], b"x" * 2000 + b"\r\n", "127.0.0.1"),
    "a bare LF": ([FROM, *REST], b"a\nb\r\n", "127.0.0.1"),
    "no body": ([FROM, *REST], b"", "127.0.0.1"),
    "a signature that fails": (
        [(b"DKIM-Signature", b" v=1; a=ed25519-sha256; d=example.com; s=main; h=From; bh=YQ==; b=YQ=="), FROM, *REST],
        b"text\r\n",
        STRANGER,
    ),
    "a name that is not UTF-8": (
        [(b"X-\xff", b" x"), FROM, (NAME + b"\xff", b" mx.example; dkim=pass"), *REST],
        b"",
        STRANGER,
    ),
    "a name that is not UTF-8, inside": ([(b"\xff" + NAME, b" x"), FROM, *REST], b"", "127.0.0.1"),
}


@requirement("A06", "A07", "A09")
@pytest.mark.parametrize("which", ["daemon", "idle"])
@pytest.mark.parametrize("path", PATHS)
def test_each_path(request: pytest.FixtureRequest, path: str, which: str) -> None:
    fields, body, client = PATHS[path]
    mixed = [OURS[0], THEIRS[0], *fields[:1], OURS[1], *fields[1:], THEIRS[1], OURS[2], THEIRS[2], OURS[0]]
    left = results_left(request.getfixturevalue(which), mixed, body, client=client)
    assert left == [value for _, value in THEIRS]


@requirement("A06", "A07")
@pytest.mark.parametrize("client", ["127.0.0.1", STRANGER])
def test_past_the_limits_of_a_header(daemon: Daemon, client: str) -> None:
    """Fields past the limit are removed unread, those before it as always."""
    fields = [*OURS, THEIRS[0], FROM, *[(b"X", b" y")] * 1100, *OURS, THEIRS[1]]
    assert results_left(daemon, fields, client=client) == [THEIRS[0][1]]


@requirement("A06", "A08", "A09")
@pytest.mark.parametrize("client", ["127.0.0.1", STRANGER])
def test_all_forms(daemon: Daemon, client: str) -> None:
    """Each row of the table, through libmilter; what follows a NUL is not part of the value there."""
    rows = [row for row in ROWS if b"\0" not in row[1] and b"\n" not in row[1].replace(b"\r\n", b"")]
    for start in range(0, len(rows), 50):
        part = [
            (b" " + value.replace(b"mx.example.com", b"mx.example"), removed)
            for name, value, removed in rows[start : start + 50]
            if b"mx.example.com" in value
        ]
        fields = [(NAME, value) for value, _ in part]
        left = results_left(daemon, [*fields, FROM, *REST], client=client)
        assert left == [value for value, removed in part if not removed]


_NAMES = (NAME, NAME.upper(), NAME.lower(), b"AuThentication-results", NAME + b" ", NAME + b"\t", NAME + b" \t ")
_NEIGHBOURS = (b"X-" + NAME, NAME + b"-2", b"ARC-" + NAME, b"Authentication_Results", b"Authentication-Result")
_OF_US = (
    b" mx.example; dkim=pass (%d)",
    b"\r\n\tmx.example;\r\n dkim=pass (%d)",
    b" =?utf-8?q?mx?=.example; none (%d)",
    b" mx.\r\n example ; none (%d)",
)
_OF_OTHERS = (
    b" mx%d.example; dkim=pass",
    b" (mx.example)\r\n a%d.example; none",
    b" a%d.example; dkim=pass (mx.example)",
)


@requirement("A07", "A09")
@pytest.mark.parametrize("client", [STRANGER, "127.0.0.1"])
@pytest.mark.parametrize("seed", range(10))
def test_exactly_those_of_ours_whatever_stands_between(daemon: Daemon, client: str, seed: int) -> None:
    chance = random.Random(seed)
    fields: list[Field] = []
    kept: list[bytes] = []
    for number in range(chance.randint(1, 80)):
        name = chance.choice((*_NAMES, *_NEIGHBOURS))
        ours = chance.random() < 0.5
        value = chance.choice(_OF_US if ours else _OF_OTHERS) % number
        fields.append((name, value))
        if not ours or name in _NEIGHBOURS:
            kept.append(value)
    chance.shuffle(rest := [FROM, *REST])
    place = chance.randint(0, len(fields))
    with MilterClient(daemon.address) as milter:
        sent = [*fields[:place], *rest, *fields[place:]]
        reply = milter.send_message(sent, b"text\r\n", client_address=client)
    left = [value for name, value in apply(reply, sent) if name in (*_NAMES, *_NEIGHBOURS)]
    added = sum(change.name == NAME and change.value != b"" for change in reply.modifications)
    assert left[added:] == kept
