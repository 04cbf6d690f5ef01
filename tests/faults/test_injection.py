"""Nothing that comes with a message can open a clause, break a line, or add a field (K1, K2, K12, A05, A12, M14, M15).

What is written is read back by a reader of its own here, that knows no more of us than the grammar.
"""

from __future__ import annotations

import base64
import hashlib
import re
import socket
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, cast

from hypothesis import example, given, settings
from hypothesis import strategies as st

from phoenixdkim.dkim.headers import HeaderField, parse_message
from phoenixdkim.dkim.results import Result
from phoenixdkim.log import Destination, Level, Log
from phoenixdkim.milter.accounting import summary
from phoenixdkim.milter.outcome import DeleteField, InsertField, Outcome
from phoenixdkim.milter.session import Client, MessageSession
from phoenixdkim.policy import Policy, SigningTable, parse_pattern
from signed_mail import NOW, answers, ed_key, rsa_key, zone

KEYS = (ed_key(), rsa_key())
ZONE = zone(*KEYS)
US = b"mx.example"
POLICY = Policy(US, signing=True, table=SigningTable.of({parse_pattern("*@example.com"): KEYS}))

_POISON = st.sampled_from(
    [
        *(bytes((octet,)) for octet in b';=()"\\ \t\r\n\0{@./,'),
        b"; dkim=pass header.d=bank.example",
        b'\\"',
        b"\r\n",
        b"\r\n ",
        b"\nX-Spam: no",
        b"\r\nSubject: x",
        b"\x1b[31m",
        b"%s%n",
        b"{result}",
        b"\xff",
        b"\xc3",
        "\u2028".encode(),
        "\u202e".encode(),
        "\x85".encode(),
        "ä".encode(),
        b"a" * 300,
        b"mx.example",
        b" summary action=sign result=pass",
    ]
)
_TEXT = st.lists(_POISON | st.binary(max_size=4), max_size=5).map(b"".join)
_NAMES = st.sampled_from([b"d", b"s", b"i", b"b", b"a", b"h", b"bh", b"c", b"l", b"q", b"t", b"x", b"v", b"z"])
GOOD = {
    b"v": b"1",
    b"a": b"ed25519-sha256",
    b"d": b"example.com",
    b"s": b"e",
    b"h": b"from",
    b"bh": base64.b64encode(hashlib.sha256(b"text\r\n").digest()),
    b"b": b"QQ==",
}


def run(fields: Sequence[HeaderField], trusted: bool = False) -> Outcome:
    session = MessageSession(POLICY, Client("192.0.2.1", authenticated=trusted), NOW)
    for field in fields:
        session.header(field.name, field.value)
    names = session.end_of_headers()
    session.body(b"text\r\n")
    return session.end_of_message(answers(ZONE, names))


def clauses(value: bytes) -> list[bytes]:
    """The parts between semicolons that stand outside of quoted strings and comments (RFC 5322 section 3.2)."""
    text = value.replace(b"\r\n\t", b" ")
    parts = [bytearray()]
    depth = 0
    quoted = escaped = False
    for octet in text:
        character = bytes((octet,))
        if escaped:
            escaped = False
        elif character == b"\\" and (quoted or depth):
            escaped = True
        elif character == b'"' and not depth:
            quoted = not quoted
        elif character == b"(" and not quoted:
            depth += 1
        elif character == b")" and not quoted:
            depth -= 1
            assert depth >= 0
        elif character == b";" and not quoted and not depth:
            parts.append(bytearray())
            continue
        parts[-1] += character
    assert not quoted
    assert depth == 0
    return [bytes(part).strip(b" \t") for part in parts]


CLAUSE = re.compile(
    rb"dkim=(pass|fail|none|neutral|policy|temperror|permerror)"
    rb'(?: reason="[A-Za-z0-9 ,.\'-]*")?(?: \([0-9]+-bit key(?:, testing)?\))?'
    rb'(?: header\.[disab]=(?:[A-Za-z0-9!#$%&\'*+^_`{|}~.@=/-]+|"[^"\\\x00-\x1f\x7f]*"))*'
)


def assert_one_field(value: bytes, most: int) -> None:
    """A value that is one field of as many clauses, each of the shape that ours have."""
    value.decode("utf-8")
    assert not re.search(rb"\r(?!\n)|(?<!\r)\n|\r\n(?!\t)|[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]", value)
    assert all(len(line) <= 998 and line.strip(b" \t") for line in value.split(b"\r\n"))
    whole = b"Authentication-Results:" + value + b"\r\n\r\n"
    fields, body = parse_message(whole)
    assert [field.name for field in fields] == [b"Authentication-Results"]
    assert body == b""
    head, *rest = clauses(value)
    assert head == US
    assert 1 <= len(rest) <= most
    for clause in rest:
        assert CLAUSE.fullmatch(clause), clause


def written(text: str) -> bytes:
    """What a log writes of one line."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        log = Log(Destination.STDERR, Level.INFO)
        log._output = cast(Any, SimpleNamespace(write=theirs.send))
        assert log.line(Level.INFO, text)
        assert log.flush() == 0
        theirs.shutdown(socket.SHUT_WR)
        parts = []
        while part := ours.recv(65536):
            parts.append(part)
        return b"".join(parts)


KNOWN_KEYS = {"action", "result", "d", "a", "sigs", "failed", "reason", "unsigned", "from", "disposition"}


def assert_one_line(queue_id: str, outcome: Outcome) -> None:
    line = written(summary(queue_id, outcome)).decode("utf-8")
    assert line.endswith("\n")
    assert line.count("\n") == 1
    shown = line[:-1]
    assert shown.isascii()
    assert shown.isprintable()
    outside = re.sub(r'"(?:[^"\\]|\\.)*"', '""', shown)
    assert outside.count(": summary ") == 1
    rest = outside.partition(": summary ")[2]
    words = [word.partition("=") for word in rest.split(" ")]
    assert {name for name, _, _ in words} <= KNOWN_KEYS
    assert len({name for name, _, _ in words}) == len(words)
    assert all(equals and value for _, equals, value in words)


@settings(max_examples=400, deadline=None)
@given(
    changes=st.lists(st.dictionaries(_NAMES, _TEXT, max_size=3), min_size=1, max_size=3),
    extra=_TEXT,
    queue_id=_TEXT,
    from_value=_TEXT,
    international=st.booleans(),
)
@example([{b"d": b"legit.com(.attacker.com"}], b"", b"", b"", False)
@example([{b"d": b"a.com\0.b.com", b"i": b'"; dkim=pass (@example.com'}], b"", b"", b"", True)
@example([{b"s": b"x\r\n\r\n"}], b"", b"", b"", False)
def test_k1_k12_m14_m15_results_and_log_lines(
    changes: list[dict[bytes, bytes]], extra: bytes, queue_id: bytes, from_value: bytes, international: bool
) -> None:
    fields = []
    for change in changes:
        tags = {**GOOD, **change}
        text = b" " + b"; ".join(name + b"=" + value for name, value in tags.items()) + extra
        fields.append(HeaderField(b"DKIM-Signature", text))
    if international:
        fields.append(HeaderField(b"Subject", " ä".encode()))
    fields.append(HeaderField(b"From", b" a@example.com" + from_value))
    outcome = run(fields)
    (inserted,) = [edit for edit in outcome.edits if isinstance(edit, InsertField)]
    assert inserted.name == b"Authentication-Results"
    assert_one_field(inserted.value, len(changes))
    assert_one_line(queue_id.decode("utf-8", "replace"), outcome)
    assert outcome.result is not Result.PASS


@settings(max_examples=200, deadline=None)
@given(from_value=_TEXT, subject=_TEXT, queue_id=_TEXT)
def test_k12_s07_m15_what_we_sign_is_one_field(from_value: bytes, subject: bytes, queue_id: bytes) -> None:
    """A DKIM-Signature of ours has the tags of ours, once each, whatever stands in the message."""
    fields = [
        HeaderField(b"From", b" " + from_value + b"<a@example.com>"),
        HeaderField(b"Subject", b" " + subject),
    ]
    outcome = run(fields, trusted=True)
    assert_one_line(queue_id.decode("utf-8", "replace"), outcome)
    for edit in outcome.edits:
        assert isinstance(edit, InsertField)
        if edit.name == b"Authentication-Results":
            continue
        assert edit.name == b"DKIM-Signature"
        assert not re.search(rb"\r(?!\n)|(?<!\r)\n|\r\n(?!\t)|[^\t\r\n\x20-\x7e]", edit.value)
        assert [field.name for field in parse_message(b"DKIM-Signature:" + edit.value + b"\r\n")[0]] == [
            b"DKIM-Signature"
        ]
        names = [part.partition(b"=")[0].strip(b" \t\r\n") for part in edit.value.split(b";")]
        assert names == [b"v", b"a", b"c", b"d", b"s", b"t", b"h", b"bh", b"b"]
        assert b"d=example.com;" in edit.value


def authserv_id(value: bytes) -> bytes | None:
    """The authserv-id as a lenient reader takes it: the first word, without comments, quotes and case."""
    text = value.replace(b"\r\n", b"")
    for _ in range(20):
        text = re.sub(rb"\([^()]*\)", b" ", text)
    match = re.match(rb'[ \t]*(?:"((?:[^"\\]|\\.)*)"|([^ \t;="()/]+))', text)
    if match is None:
        return None
    word = re.sub(rb"\\(.)", rb"\1", match[1]) if match[1] is not None else match[2]
    return word.lower().rstrip(b".")


_AUTHRES = st.lists(
    st.sampled_from(
        [
            b"mx.example",
            b"MX.Example",
            b"other.example",
            b" ",
            b"\r\n\t",
            b"(c)",
            b"(",
            b")",
            b'"',
            b";",
            b" dkim=pass",
            b"1",
            b"/",
            b"\\",
        ]
    ),
    max_size=7,
).map(b"".join)


@settings(max_examples=500, deadline=None)
@given(
    fields=st.lists(
        st.tuples(
            st.sampled_from([b"Authentication-Results", b"authentication-RESULTS", b"Received", b"From"]), _AUTHRES
        ),
        max_size=12,
    )
)
def test_k2_m11_a06_a07_no_field_of_ours_survives(fields: list[tuple[bytes, bytes]]) -> None:
    """After the edits, made one by one as an MTA makes them, one field bears our name: the one that we added."""
    outcome = run([HeaderField(name, value) for name, value in fields])
    left = [(name.lower(), value) for name, value in fields]
    for edit in outcome.edits:
        if isinstance(edit, DeleteField):
            same = [index for index, (name, _) in enumerate(left) if name == edit.name.lower()]
            del left[same[edit.ordinal - 1]]
        else:
            left.insert(0, (edit.name.lower(), edit.value))
    ours = [value for name, value in left if name == b"authentication-results" and authserv_id(value) == US]
    assert len(ours) == 1
    assert left[0][1] == ours[0]
    others = [(name.lower(), value) for name, value in fields if name.lower() != b"authentication-results"]
    assert [field for field in left if field[0] != b"authentication-results"] == others
    for name, value in fields:
        if name.lower() == b"authentication-results" and re.fullmatch(
            rb"[ \r\n\t]*other\.example[ \r\n\t]*(;.*)?", value
        ):
            assert (name.lower(), value) in left, "somebody else's stays"
