"""Whole messages, verified, with hostile key answers.

Oracle: no message passes unless its signature is one that our keys made and all that it covers, by the reference, is as
it was signed; nothing follows the part that l= covers; the header edits are those of the verdicts.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cache

from fuzz.honest import DOMAIN, ED25519, MESSAGES, NOW, RECORDS, RSA, Message
from fuzz.reference import Field, Signed, is_signature, sign, signed_text, tag
from fuzz.target import CONTROLS, Target, check
from phoenixdkim.authres import AuthResSyntaxError, parse
from phoenixdkim.dkim.headers import parse_message
from phoenixdkim.dkim.keys import KeyAnswer, KeyOutcome, key_answer
from phoenixdkim.dkim.limits import Limits
from phoenixdkim.dkim.results import DnssecStatus, Reason, Result
from phoenixdkim.dkim.verify import LengthPolicy, SignatureVerdict
from phoenixdkim.events import Action
from phoenixdkim.milter.outcome import DeleteField, InsertField, Outcome
from phoenixdkim.milter.session import Client, MessageSession
from phoenixdkim.policy import Policy

OURS = b"mx.example.com"
LIMITS = Limits()
POLICIES = [Policy(OURS, length_policy=how, limits=LIMITS) for how in LengthPolicy]
POLICIES.append(replace(POLICIES[0], limits=Limits(max_signatures=1, max_header_fields=8, max_tags=16)))
SEPARATOR = b"\xff\xff"


def execute(data: bytes) -> None:
    """Two octets of settings; hostile key records with 0xFE between them; 0xFF twice; the message."""
    settings, size = (data + b"\0\0")[:2]
    records, _, message = data[2:].partition(SEPARATOR)
    fields, body = parse_message(message)
    policy = POLICIES[settings & 3]
    session = MessageSession(policy, Client("192.0.2.1"), NOW)
    for field in fields:
        session.header(field.name, field.value)
    if settings & 4:
        session.hidden_header()
    hostile = _hostile(settings, records)
    answers = {name: RECORDS.get(name, hostile) for name in session.end_of_headers()}
    check(all(len(name) < 254 and name.isascii() for name in answers), "names to look up", list(answers))
    step = size or len(body) or 1
    for at in range(0, len(body), step):
        session.body(body[at : at + step])
    outcome = session.end_of_message(answers)
    plain = [(field.name, field.value) for field in fields]
    _check_verdicts(outcome, plain, body, policy, bool(settings & 4))
    _check_edits(outcome, plain)


def _hostile(settings: int, records: bytes) -> KeyAnswer:
    if settings & 8:
        return KeyAnswer(KeyOutcome.UNAVAILABLE, reason=Reason.DNS_UNAVAILABLE)
    return key_answer(records.split(b"\xfe") if records else [], DnssecStatus.UNKNOWN, LIMITS)


def _check_verdicts(outcome: Outcome, fields: Sequence[Field], body: bytes, policy: Policy, hidden: bool) -> None:
    check(outcome.action is Action.VERIFY, "not verified", outcome.action)
    places = [at for at, field in enumerate(fields) if is_signature(field)]
    limit = policy.limits.max_signatures
    if len(fields) <= policy.limits.max_header_fields:
        check(len(outcome.verdicts) == min(len(places), limit + 1), "verdicts", len(outcome.verdicts), len(places))
    passed = [number for number, verdict in enumerate(outcome.verdicts) if verdict.result is Result.PASS]
    check((outcome.result is Result.PASS) == bool(passed), "the message's result", outcome.result)
    for number in passed:
        check(not hidden, "passes with a field that was not seen")
        check(sum(name.rstrip(b" \t").lower() == b"from" for name, _ in fields) == 1, "passes with several From")
        check(number < limit, "more signatures than allowed")
        _check_pass(outcome.verdicts[number], fields, body, places[number], policy)


def _check_pass(verdict: SignatureVerdict, fields: Sequence[Field], body: bytes, place: int, policy: Policy) -> None:
    value = fields[place][1]
    signature = base64.b64decode(tag(value, b"b") or b"")
    known = known_signatures().get(signature)
    check(known is not None, "passes with a signature that our keys did not make", verdict)
    found = signed_text(fields, body, place)
    assert known is not None
    check(found.header == known.header, "passes with another header than was signed", found.header, known.header)
    check(found.body == known.body, "passes with another body than was signed", found.body, known.body)
    check(found.whole_body or policy.length_policy is not LengthPolicy.POLICY, "passes with an unsigned tail")
    check(b"from" in (tag(value, b"h") or b"").lower().split(b":"), "passes without From", value)
    expires = tag(value, b"x")
    check(expires is None or int(expires) >= NOW - policy.limits.clock_drift, "passes after its time", expires)
    check(verdict.domain.lower() == (tag(value, b"d") or b"").lower(), "another domain", verdict.domain)


def _check_edits(outcome: Outcome, fields: Sequence[Field]) -> None:
    *deletions, added = outcome.edits
    check(isinstance(added, InsertField) and added.name == b"Authentication-Results", "what is added", added)
    assert isinstance(added, InsertField)
    lines = added.value.split(b"\r\n")
    check(all(line[:1] in (b" ", b"\t") for line in lines), "a line that is none of the field", added.value)
    check(CONTROLS.isdisjoint(b"".join(lines)), "a control", added.value)
    told = [(clause.method, clause.result.decode()) for clause in parse(added.value).results]
    wanted = [(b"dkim", verdict.result) for verdict in outcome.verdicts] or [(b"dkim", Result.NONE)]
    check(told == wanted, "clauses", added.value, wanted)
    ordinals = [edit.ordinal for edit in deletions if isinstance(edit, DeleteField)]
    check(len(ordinals) == len(deletions) and ordinals == sorted(set(ordinals), reverse=True), "deletions", deletions)
    there = [value for name, value in fields if name.rstrip(b" \t").lower() == b"authentication-results"]
    check(not ordinals or (ordinals[-1] > 0 and ordinals[0] <= len(there)), "ordinals", ordinals)
    for value in (value for number, value in enumerate(there, 1) if number not in ordinals):
        try:
            check(parse(value).authserv_id.lower() != OURS, "a forged field stays", value)
        except AuthResSyntaxError:
            continue


_TAGS = (
    b"d=" + DOMAIN + b"; s=%s; c=relaxed/simple; t=%d; h=From:To:Subject:Date:From" % (b"%s", NOW),
    b"d=" + DOMAIN + b"; s=%s; h=from : to :\r\n subject; x=%d; i=joe=40x@sub." % (b"%s", NOW + 60) + DOMAIN,
    b"d=" + DOMAIN + b"; s=%s; c=relaxed/relaxed; l=4; h=From",
    b"d=" + DOMAIN + b"; s=%s; c=simple/relaxed; h=Received:From:Received",
)


@cache
def signed_messages() -> list[Message]:
    """Valid messages: each of the tags with each key, made by the reference."""
    made = []
    for number, (fields, body) in enumerate(MESSAGES):
        for place, tags in enumerate(_TAGS):
            key, selector = ((RSA, b"r"), (ED25519, b"e"))[(number + place) % 2]
            covered = b"Text " + body if b"l=4" in tags else body
            made.append(([sign(fields, covered, key, tags.replace(b"%s", selector)), *fields], covered))
    return made


@cache
def known_signatures() -> dict[bytes, Signed]:
    """What each signature of ours covers."""
    return {
        base64.b64decode(tag(fields[0][1], b"b") or b""): signed_text(fields, body, 0)
        for fields, body in signed_messages()
    }


def written(message: Message) -> bytes:
    """A message as it is on the wire."""
    fields, body = message
    return b"".join(name + b":" + value + b"\r\n" for name, value in fields) + b"\r\n" + body


def seeds() -> Iterator[bytes]:
    honest = b"\xfe".join((b"v=spf1 -all", *(record for record in HOSTILE)))
    for number, (fields, body) in enumerate(signed_messages()):
        yield bytes((0, number * 3)) + SEPARATOR + written((fields, body))
        forged = [(b"Authentication-Results", b" mx.example.com; dkim=pass"), *fields]
        yield bytes((3, 7)) + honest + SEPARATOR + written((forged * 2, body))
    fields, body = signed_messages()[0]
    other = (fields[0][0], fields[0][1].replace(DOMAIN, b"evil.example"))
    yield b"\0\0" + honest + SEPARATOR + written(([other, *fields], body))


HOSTILE = (
    b"v=DKIM1; k=ed25519; p=" + base64.b64encode(bytes(32)),
    b"v=DKIM1; k=ed25519; p=" + base64.b64encode(b"\1" + bytes(31)),
)

TARGET = Target(
    execute,
    seeds,
    (
        *(
            b"\r\n",
            b"DKIM-Signature:",
            b"From:",
            b"Authentication-Results:",
            b"\r\n\t",
            b";",
            b"=",
            b"\xff\xff",
            b"\xfe",
        ),
        *(
            b"l=0",
            b"l=4",
            b"l=12",
            b"x=1",
            b"t=9999999999",
            b"h=From",
            b"c=relaxed",
            b"c=simple",
            b"d=",
            b"i=@",
            b"b=",
            b"bh=",
        ),
        *(b"mx.example.com", b"evil.example", DOMAIN, b"k=ed25519; p=", "ä".encode(), b"\0"),
    ),
    1536,
)
