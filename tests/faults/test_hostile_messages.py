"""Hostile messages through the real daemon: each gets its verdict, and the mail of others goes on (M1 to M14, G4, T1).

There is one worker, so that the hostile message and the mail of others share an interpreter. What it costs is measured
in that worker's CPU time, which other work of the machine does not change.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from integration.daemon import AUTHSERV_ID, Daemon
from interop.peers import KeyPair
from phoenixdkim.testing.milter_client import MilterClient
from phoenixdkim.testing.milter_protocol import Disposition, Field, Reply, apply

MB = 1_000_000
CPU_SECONDS = 2.0
"""What the worst message may take of its worker (G4), the round trips of its fields included."""
STRANGER = "192.0.2.1"
NORMAL: list[Field] = [(b"From", b" a@example.com"), (b"To", b" b@example.net"), (b"Subject", b" hi\r\n\tthere")]
PAIR = KeyPair.ed25519("example.com", "main")


@pytest.fixture(scope="module")
def daemon() -> Iterator[Daemon]:
    with Daemon([PAIR], workers=1) as running:
        yield running
        assert "internal error" not in running.log()
        assert "Traceback" not in running.log()


@pytest.fixture(scope="module")
def signature(daemon: Daemon) -> Field:
    """A valid signature of ``NORMAL`` with the body ``text``."""
    with MilterClient(daemon.address) as client:
        reply = client.send_message(NORMAL, b"text\r\n")
    return next((change.name, change.value.replace(b"\n", b"\r\n")) for change in reply.modifications)


def worker_of(daemon: Daemon) -> int:
    """The process that serves mail: the one child of a child of the supervisor that runs our own program."""
    assert daemon.process is not None
    parents = {}
    for pid in daemon.children():
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        parents[pid] = int(fields[1])
    workers = [pid for pid, parent in parents.items() if parent in parents]
    assert len(workers) == 1
    return workers[0]


def cpu_of(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def result_of(reply: Reply) -> bytes:
    """The value of the Authentication-Results field that was added."""
    (value,) = [
        change.value for change in reply.modifications if change.name == b"Authentication-Results" and change.value
    ]
    return value


def filled(pattern: bytes, size: int) -> bytes:
    return (pattern * (size // len(pattern) + 1))[:size]


def many(count: int, make: Callable[[int], Field]) -> list[Field]:
    return [make(number) for number in range(count)]


TAGS = b" v=1; a=ed25519-sha256; d=example.com; s=main; bh=QQ==; b=QQ==; "
WAYS = b" v=1; a=ed25519-sha256; d=d%d.example; s=s; h=from; bh=QQ==; b=QQ==; c=%s; l=%d"

HOSTILE: dict[str, tuple[list[Field], bytes, bytes]] = {
    # name: header before the normal one, body, what stands in the result
    "M1 spaces": ([(b"DKIM-Signature", TAGS + b"h=from")], filled(b" ", 10 * MB), b"dkim=fail"),
    "M1 tabs and lines": (
        [(b"DKIM-Signature", TAGS + b"h=from; c=relaxed/relaxed")],
        filled(b"\t \r\n", 10 * MB),
        b"fail",
    ),
    "M1 every canonicalization and length": (
        many(
            10,
            lambda n: (
                b"DKIM-Signature",
                WAYS.replace(b"d%d", b"d1") % ([b"simple/relaxed", b"relaxed"][n % 2], n * MB),
            ),
        ),
        filled(b" \t\r\n\r\na", 10 * MB),
        b"dkim=permerror",
    ),
    "M2 signatures": (
        many(10_000, lambda n: (b"DKIM-Signature", WAYS % (n, b"relaxed/relaxed", n))),
        b"text\r\n",
        b"dkim=policy",
    ),
    "M6 one field": ([(b"X", filled(b" ", MB - 100))], b"text\r\n", b"dkim=none"),
    "M6 one field of folds": ([(b"X", filled(b"\r\n\t", MB - 100))], b"text\r\n", b"dkim=none"),
    "M6 fields": (many(5000, lambda n: (b"X-%d" % n, b" y")), b"text\r\n", b"dkim=none"),
    "M6 tags": ([(b"DKIM-Signature", TAGS + filled(b"a=b;", 800_000))], b"text\r\n", b"too large"),
    "M6 signed fields": ([(b"DKIM-Signature", TAGS + b"h=from" + b":x" * 20_000)], b"text\r\n", b"dkim=permerror"),
    "M10 From": ([(b"From", filled(b"(", MB - 100))], b"text\r\n", b"dkim=none"),
    "M11 forged results": (
        many(1000, lambda n: (b"Authentication-Results", b" mx.example; dkim=pass header.d=d%d.example" % n)),
        b"text\r\n",
        b"dkim=none",
    ),
    "M11 nested comments": ([(b"Authentication-Results", filled(b"(", MB - 100))], b"text\r\n", b"dkim=none"),
    "M11 words": (many(900, lambda n: (b"Authentication-Results", filled(b"a ", 1000))), b"text\r\n", b"dkim=none"),
    "M13 z=": ([(b"DKIM-Signature", TAGS + b"h=from; z=" + b"From:a|" * 100_000)], b"text\r\n", b"too large"),
}


class Others(threading.Thread):
    """Somebody else's mail, one message after the other, until told to stop."""

    def __init__(self, address: str, fields: list[Field]) -> None:
        super().__init__()
        self._address = address
        self._fields = fields
        self._over = threading.Event()
        self.waits: list[tuple[float, float]] = []
        self.wrong: list[str] = []

    def run(self) -> None:
        with MilterClient(self._address) as client:
            while not self._over.is_set():
                begun = time.monotonic()
                reply = client.send_message(self._fields, b"text\r\n", client_address=STRANGER)
                self.waits.append((begun, time.monotonic()))
                if b"dkim=pass" not in result_of(reply):
                    self.wrong.append(str(reply))

    def stop(self) -> None:
        self._over.set()
        self.join(30)


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_message_has_its_verdict_and_others_have_theirs(daemon: Daemon, signature: Field, name: str) -> None:
    before, body, wanted = HOSTILE[name]
    worker = worker_of(daemon)
    others = Others(daemon.address, [signature, *NORMAL])
    others.start()
    try:
        with MilterClient(daemon.address) as client:
            client.open_session(client_address=STRANGER)
            others_before = len(others.waits)
            used = cpu_of(worker)
            begun = time.monotonic()
            reply = client.send_message([*before, *NORMAL], body, client_address=STRANGER)
            ended = time.monotonic()
            used = cpu_of(worker) - used
            meanwhile = [wait for wait in others.waits[others_before:] if wait[0] < ended]
            within = [wait for wait in meanwhile if begun < wait[0] and wait[1] < ended]
    finally:
        others.stop()
    assert wanted in result_of(reply)
    assert reply.disposition is Disposition.CONTINUE
    assert not others.wrong
    # Of what the worker used, the other mail had its part; the rest is the hostile message's.
    assert used < CPU_SECONDS + 0.01 * len(meanwhile), f"{used:.2f} s of CPU"
    print(f"{name}: {used:.2f} s of CPU, {ended - begun:.2f} s; {len(meanwhile)} others, {len(within)} of them within")
    # Other messages do not wait for a hostile one that takes long to end.
    if used > CPU_SECONDS / 2:
        assert within, f"no other message got through in {ended - begun:.2f} s"


def test_what_is_forged_does_not_survive(daemon: Daemon) -> None:
    """K2, M11, A06, A07: 1,000 of them in all spellings, between others that stay."""
    forged = [
        b" mx.example; dkim=pass",
        b" MX.EXAMPLE 1; dkim=pass",
        b"\r\n\tmx.example\r\n\t; dkim=pass",
        b" (who) mx.example; dkim=pass",
        b' "mx.example"; dkim=pass',
        b" mx.example/1; dkim=pass",
        b" dkim=pass",
    ]
    names = [
        b"Authentication-Results",
        b"authentication-results",
        b"Authentication-Results ",
        b"AUTHENTICATION-RESULTS\t",
    ]
    fields: list[Field] = []
    for number in range(250):
        fields.append((names[number % 4], forged[number % 7]))
        fields.append((b"Authentication-Results", b" other%d.example; dkim=pass" % number))
        fields.append((b"X-Between", b" %d" % number))
    with MilterClient(daemon.address) as client:
        reply = client.send_message([*fields, *NORMAL], b"text\r\n", client_address=STRANGER)
    left = [value for name, value in apply(reply, strip_names(fields)) if name.lower() == b"authentication-results"]
    assert left[0].startswith(b" mx.example;\r\n\tdkim=none")
    assert left[1:] == [b" other%d.example; dkim=pass" % number for number in range(250)]


def strip_names(fields: list[Field]) -> list[Field]:
    """As Postfix compares names: without the white space before the colon."""
    return [(name.rstrip(b" \t"), value) for name, value in fields]


@pytest.mark.parametrize("size", [65_000, 65_536, 102_400, 500_000, 1_040_000])
def test_m6_a_field_larger_than_libmilter_takes_by_itself(daemon: Daemon, signature: Field, size: int) -> None:
    """Postfix hands over fields of up to 102,400 octets; libmilter's own bound of 65,535 would end the session."""
    with MilterClient(daemon.address) as client:
        reply = client.send_message(
            [(b"X", b" " + b"x" * size), signature, *NORMAL], b"text\r\n", client_address=STRANGER
        )
        assert (b"dkim=policy" if size > 262_144 else b"dkim=pass") in result_of(reply)
        reply = client.send_message([signature, *NORMAL], b"text\r\n", client_address=STRANGER)
        assert b"dkim=pass" in result_of(reply), "the next message is not touched"


@pytest.mark.parametrize(
    "name", [b"X-\xff", b"From\xa0", b"\xc3(", "X-Ä".encode(), "From\u200b".encode(), "Fr\u043em".encode()]
)
def test_m9_a_name_that_is_not_ascii_is_noticed_through_libmilter(
    daemon: Daemon, signature: Field, name: bytes
) -> None:
    """Names that are no UTF-8 never reach our callback; that one was there is noticed all the same."""
    odd: list[Field] = [(name, b" eve@example.org")]
    with MilterClient(daemon.address) as client:
        for fields in ([*odd, signature, *NORMAL], [signature, *NORMAL, *odd], [signature, *odd, *NORMAL]):
            reply = client.send_message(fields, b"text\r\n", client_address=STRANGER)
            assert b'dkim=neutral reason="a header field name is not ASCII"' in result_of(reply)
        reply = client.send_message([signature, *NORMAL], b"text\r\n", client_address=STRANGER)
        assert b"dkim=pass" in result_of(reply), "the next message on the connection is not touched"
    with MilterClient(daemon.address) as client:
        reply = client.send_message([*odd, *NORMAL], b"text\r\n")
        assert [change.name for change in reply.modifications] == [b"Authentication-Results"], "not signed"
        reply = client.send_message(NORMAL, b"text\r\n")
        assert [change.name for change in reply.modifications] == [b"DKIM-Signature"]
    assert "unsigned=hidden_header_name" in daemon.log()
    assert "UnicodeDecodeError" not in daemon.log()


def test_m9_a_name_seen_on_one_connection_is_nothing_to_another(daemon: Daemon, signature: Field) -> None:
    """Each connection has its own thread state in pymilter; two of them interleaved field by field."""
    with MilterClient(daemon.address) as first, MilterClient(daemon.address) as second:
        for client in (first, second):
            client.open_session(client_address=STRANGER)
            client.mail("a@example.com")
            client.rcpt("b@example.net")
            client.data()
        for name, value in [signature, *NORMAL]:
            first.header(b"X-\xff", b" x")
            second.header(name, value)
            first.header(name, value)
        for client in (first, second):
            client.eoh()
            client.body(b"text\r\n")
        assert b"dkim=pass" in result_of(second.eom())
        assert b"dkim=neutral" in result_of(first.eom())


def test_a_client_name_that_is_no_text_makes_a_stranger_of_the_client(daemon: Daemon) -> None:
    """pymilter can't hand over such a connect: what is not known is not trusted."""
    with MilterClient(daemon.address) as client:
        reply = client.send_message(NORMAL, b"text\r\n", client_name="h\udcff".encode("utf-8", "surrogateescape"))  # type: ignore[arg-type]
        assert b"dkim=none" in result_of(reply)
    assert "UnicodeDecodeError" not in daemon.log()


def test_t1_another_client_on_the_same_connection_is_not_taken_for_the_first(daemon: Daemon) -> None:
    """QUIT_NC: the connection stays, the client changes; what was negotiated holds, and trust does not."""
    with MilterClient(daemon.address) as client:
        client.open_session()
        client.mail("a@example.com")
        for name, value in NORMAL:
            client.header(name, value)
        client.body(b"text\r\n")
        assert [change.name for change in client.eom().modifications] == [b"DKIM-Signature"]
        client.quit_nc()
        client.open_session(client_address=STRANGER)
        client.mail("a@example.com")
        for name, value in NORMAL:
            client.header(name, value)
        client.body(b"text\r\n")
        reply = client.eom()
        assert [(change.name, change.value) for change in reply.modifications] == [
            (b"Authentication-Results", f" {AUTHSERV_ID};\n\tdkim=none".encode())
        ]


@pytest.mark.parametrize(
    "steps",
    ["mail", "mail header", "mail header body", "mail header body abort", "mail header abort header body"],
)
def test_t1_nothing_of_a_message_given_up_is_left(daemon: Daemon, signature: Field, steps: str) -> None:
    with MilterClient(daemon.address) as client:
        client.open_session(client_address=STRANGER)
        for step in steps.split():
            if step == "mail":
                client.mail("a@example.com")
            elif step == "header":
                client.header(b"From", b" eve@example.org")
                client.header(b"X-\xff", b" x")
            elif step == "body":
                client.body(b"forged\r\n")
            else:
                client.abort()
        client.abort()
        reply = client.send_message([signature, *NORMAL], b"text\r\n", client_address=STRANGER)
        assert b"dkim=pass" in result_of(reply)


def test_m14_what_comes_from_mail_is_one_line_of_the_log(daemon: Daemon) -> None:
    """M14: line ends, escapes, percent signs and separators in names and macros."""
    evil = "x\r\n4AAA: summary action=sign \x1b[31m%s%n \u2028\u202e\x85 result=pass"
    text = b" v=1; a=rsa-sha256; s=s; h=from; bh=QQ==; b=QQ==; d=" + evil.encode().replace(b";", b"")
    before = daemon.log().count("\n")
    with MilterClient(daemon.address) as client:
        client.send_message(
            [(b"DKIM-Signature", text), *NORMAL], b"text\r\n", client_address=STRANGER, macros={"i": evil.encode()}
        )
    added = daemon.log().split("\n")[before:]
    assert len([line for line in added if line]) == 1
    assert "\x1b" not in added[0]
    assert "\u2028" not in added[0]
    assert not added[0].startswith("4AAA")
