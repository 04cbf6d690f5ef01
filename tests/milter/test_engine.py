"""The engine's callbacks, driven with a context of the tests' own: fences, MTAs that offer less, put-offs."""

from __future__ import annotations

import contextvars
import dataclasses
import os
import sys

import milter
import pytest

from interop.peers import KeyPair
from phoenixdkim.dkim.keys import key_answer
from phoenixdkim.dkim.limits import Limits
from phoenixdkim.dkim.results import Algorithm, DnssecStatus
from phoenixdkim.dkim.sign import SigningKey
from phoenixdkim.events import CacheResult, DnsCacheLookup
from phoenixdkim.ledger import Ledger, families
from phoenixdkim.metrics import Snapshot
from phoenixdkim.milter.pymilter_engine import Engine, EngineOptions
from phoenixdkim.milter.session import MessageSession
from phoenixdkim.policy import Disposition, Policy, RemoveForged, SigningTable, parse_pattern
from requirement import requirement

OFFERED = [0x1FF, 0x1FFFFF, 0, 0]
FIELDS = [("From", b" a@example.com"), ("To", b" b@example.net"), ("Subject", b" hi\n\tthere")]


class FakeContext:
    """libmilter's context, as far as the engine uses it."""

    def __init__(self, macros=None):
        self.private = None
        self.macros = {"i": "QID1", **(macros or {})}
        self.edits = []
        self.reply = None
        self.quarantined = None
        self.refuse_from = None
        """Number of the edit from which on edits are refused."""
        self.asked = {}

    def setsymlist(self, stage, names):
        self.asked[stage] = names

    def setpriv(self, value):
        self.private = value

    def getpriv(self):
        return self.private

    def getsymval(self, name):
        found = self.macros.get(name)
        if isinstance(found, Exception):
            raise found
        return found

    def _edit(self, *edit):
        if self.refuse_from is not None and len(self.edits) >= self.refuse_from:
            raise milter.error("cannot edit the header")
        self.edits.append(edit)

    def addheader(self, name, value, index):
        self._edit(name, value, index)

    def chgheader(self, name, index, value):
        self._edit(name, index, value)

    def quarantine(self, reason):
        self.quarantined = reason

    def setreply(self, *parts):
        self.reply = parts


class FakeLog:
    def __init__(self):
        self.lines = []
        self.on_lost = None

    def info(self, text):
        self.lines.append(text)

    error = info


class FakeResolver:
    def __init__(self, answers=None):
        self.answers = answers or {}
        self.asked = []
        self.rechecked = []
        self.newer = {}

    def cached(self, name):
        return self.answers.get(name)

    def deadline(self):
        return 0.0

    def recheck(self, names, record, deadline=None):
        self.rechecked.append(tuple(names))
        return {name: self.newer[name] for name in names if name in self.newer}

    def look_up(self, names, record, deadline=None):
        self.asked.append(tuple(names))
        for _ in names:
            record(DnsCacheLookup(CacheResult.MISS), None)
        return {}


@pytest.fixture(scope="module")
def pair():
    return KeyPair.rsa("example.com", "main")


@pytest.fixture
def policy(pair):
    key = SigningKey("main", b"example.com", b"main", Algorithm.RSA_SHA256, pair.private)
    import ipaddress

    return Policy(
        b"mx.example",
        signing=True,
        table=SigningTable.of({parse_pattern("*@example.com"): (key,)}),
        networks=(ipaddress.ip_network("127.0.0.0/8"),),
    )


class Bench:
    def __init__(self, policy, resolver=None, **options):
        self.ledger = Ledger()
        self.log = FakeLog()
        self.engine = Engine(
            policy, resolver or FakeResolver(), self.ledger.writer(1), self.log, EngineOptions(**options), lambda: 1.8e9
        )

    def counted(self, name, **labels):
        return Snapshot(tuple(families(self.ledger, self.ledger.totals(), "v"))).value(name, **labels)

    def open(self, offered=OFFERED, address=("127.0.0.1", 4711), macros=None):
        context = FakeContext(macros)
        options = list(offered)
        assert self.engine.negotiate(context, options) == milter.CONTINUE
        self.granted = options
        self.connected = self.engine.connect(context, "localhost", 2, address)
        return context

    def message(self, context, fields=FIELDS, body=b"Hello\r\n"):
        answers = [self.engine.envfrom(context, b"<a@example.com>")]
        answers += [self.engine.header(context, name, value) for name, value in fields]
        if body is not None:
            answers.append(self.engine.body(context, body))
        self.replies = answers
        return self.engine.eom(context)


@pytest.fixture
def bench(policy):
    made = Bench(policy)
    yield made
    os.close(made.ledger.fd)


def test_everything_that_can_be_left_out_is_negotiated_away(bench):
    context = bench.open()
    wanted = milter.P_NOHELO | milter.P_NORCPT | milter.P_NODATA | milter.P_NOUNKNOWN | milter.P_NOEOH
    wanted |= milter.P_NR_CONN | milter.P_NR_MAIL | milter.P_NR_HDR | milter.P_NR_BODY | milter.P_HDR_LEADSPC
    assert bench.granted == [milter.ADDHDRS | milter.CHGHDRS | milter.QUARANTINE, wanted, 0, 0]
    assert bench.message(context) == milter.CONTINUE
    assert {bench.connected, *bench.replies} == {milter.NOREPLY}
    assert context.edits[0][0] == "DKIM-Signature"
    assert context.edits[0][1].startswith(" v=1; ")
    assert "\r" not in context.edits[0][1]
    assert bench.log.lines == ["QID1: summary action=sign d=example.com a=rsa-sha256 sigs=1"]


NAME = {"{daemon_name}": frozenset({"ORIGINATING"})}
UNREADABLE = UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte")


@requirement("S13")
@pytest.mark.parametrize(
    ("conditions", "value", "signed"),
    [
        ({"networks": (), "trusted_macros": NAME}, "ORIGINATING", True),
        ({"networks": (), "trusted_macros": NAME}, "reinjection", False),
        ({"networks": (), "trusted_macros": NAME}, None, False),
        ({"networks": (), "trusted_macros": NAME}, UNREADABLE, False),
        ({"required_macros": NAME}, "ORIGINATING", True),
        ({"required_macros": NAME}, "reinjection", False),
        ({"required_macros": NAME}, None, False),
        ({"required_macros": NAME}, UNREADABLE, False),
        ({}, "reinjection", True),
    ],
)
def test_trust_by_macro(policy, conditions, value, signed):
    bench = Bench(dataclasses.replace(policy, **conditions))
    context = bench.open(macros={"{daemon_name}": value})
    assert bench.message(context) == milter.CONTINUE
    assert (context.edits[0][0] == "DKIM-Signature") is signed
    assert bench.counted("phoenixdkim_unsigned_messages_total", reason="not_trusted") == (not signed)


def test_macros_of_the_configuration_are_asked_for(policy):
    plain = Bench(policy)
    assert plain.open().asked == {}
    assert not plain.granted[0] & milter.SETSYMLIST
    bench = Bench(dataclasses.replace(policy, trusted_macros=NAME, required_macros={"{client_name}": frozenset()}))
    asked = bench.open().asked
    assert bench.granted[0] == milter.ADDHDRS | milter.CHGHDRS | milter.QUARANTINE | milter.SETSYMLIST
    assert set(asked) == {milter.M_CONNECT, milter.M_ENVFROM}
    for names in asked.values():
        assert {"{daemon_name}", "{client_name}"} <= set(names.split())
    assert {"j", "v", "{if_name}"} <= set(asked[milter.M_CONNECT].split())
    assert {"i", "{auth_authen}", "{auth_type}"} <= set(asked[milter.M_ENVFROM].split())
    assert bench.open([0xFF, 0x1FFFFF, 0, 0]).asked == {}, "an MTA that does not offer it"


@requirement("A11")
@pytest.mark.parametrize(
    ("of_mta", "j", "name"),
    [
        (True, "mta.example", "mta.example"),
        (True, None, "mx.example"),
        (True, "not a token", "mx.example"),
        (True, UNREADABLE, "mx.example"),
        (False, "mta.example", "mx.example"),
    ],
)
def test_the_authserv_id_is_the_name_of_the_mta(policy, of_mta, j, name):
    bench = Bench(dataclasses.replace(policy, authserv_id_of_mta=of_mta))
    context = bench.open(address=("192.0.2.1", 1), macros={"j": j})
    forged = [
        ("Authentication-Results", f" {claimed}; dkim=pass".encode()) for claimed in ("mx.example", "mta.example")
    ]
    bench.message(context, [*forged, *FIELDS])
    *removed, (field, value, _) = context.edits
    assert (field, value.partition(";")[0]) == ("Authentication-Results", f" {name}")
    # The name of the host counts as ours, too.
    assert [ordinal for _, ordinal, _ in removed] == ([2, 1] if name == "mta.example" else [1])


def test_each_connection_has_an_mta_of_its_own(policy):
    bench = Bench(dataclasses.replace(policy, authserv_id_of_mta=True))
    first = bench.open(address=("192.0.2.1", 1), macros={"j": "one.example"})
    second = bench.open(address=("192.0.2.1", 1), macros={"j": "two.example"})
    for context, name in ((first, "one.example"), (second, "two.example"), (first, "one.example")):
        context.edits.clear()
        bench.message(context)
        assert context.edits[0][1].startswith(f" {name};")


@requirement("S12")
@pytest.mark.parametrize(
    ("max_line", "macros", "limit"),
    [
        (None, {"v": "Postfix 3.7.11"}, 998),
        (None, {"{if_name}": "mta.example"}, 990),
        (None, {"v": "8.17.1.9"}, 990),
        (None, {}, 998),
        (900, {"v": "Postfix 3.7.11"}, 900),
        (2040, {"{if_name}": "mta.example"}, 2040),
    ],
)
def test_the_longest_line(policy, max_line, macros, limit):
    bench = Bench(dataclasses.replace(policy, max_line=max_line))
    for octets, signed in ((limit, True), (limit + 1, False)):
        context = bench.open(macros=macros)
        bench.message(context, body=b"x" * octets + b"\r\n")
        assert [edit[0] for edit in context.edits] == ["DKIM-Signature"] * signed
    assert bench.counted("phoenixdkim_unsigned_messages_total", reason="line_too_long") == 1


def test_the_summary_line_has_the_fault_of_the_from_field(bench):
    for value, fault in [(b" <> a@example.com", "brackets"), (b" undisclosed:;", "no_address")]:
        bench.message(bench.open(), [("From", value)])
        assert bench.log.lines[-1].endswith(f" unsigned=invalid_from from={fault}")
    bench.message(bench.open(), [("From", b" a@example.org")])
    assert bench.log.lines[-1].endswith(" unsigned=no_rule")


def test_an_mta_that_offers_nothing_gets_an_answer_to_each_step(bench):
    context = bench.open([0x1FF, 0, 0, 0])
    # Without leading space: values come without it and go without it.
    fields = [(name, value.lstrip()) for name, value in FIELDS]
    assert bench.message(context, fields) == milter.CONTINUE
    assert {bench.connected, *bench.replies} == {milter.CONTINUE}
    assert context.edits[0][1].startswith("v=1; ")


@requirement("C14")
@pytest.mark.parametrize("leading_space", [True, False])
def test_fields_are_put_together_as_they_were(bench, monkeypatch, leading_space):
    """With SMFIP_HDR_LEADSPC a value is all that follows the colon; without it the MTA has taken one space away."""
    seen = []
    monkeypatch.setattr(MessageSession, "header", lambda session, name, value: seen.append((name, value)))
    context = bench.open(OFFERED if leading_space else [0x1FF, 0, 0, 0])
    space = b" " if leading_space else b""
    fields = [
        ("From", space + b"a@b"),
        ("x ", space + b" two\n\tfolds\r\n \xff\xfe \t"),
        ("Empty", b""),
        ("B", space + b"a\rb"),
    ]
    bench.message(context, fields)
    assert seen == [
        (b"From", b" a@b"),
        (b"x ", b"  two\r\n\tfolds\r\n \xff\xfe \t"),
        (b"Empty", b"" if leading_space else b" "),
        (b"B", b" a\rb"),
    ]


def test_an_mta_that_does_not_negotiate_at_all(bench):
    context = FakeContext()
    bench.engine.connect(context, "localhost", 2, ("127.0.0.1", 1))
    assert bench.message(context, [(name, value.lstrip()) for name, value in FIELDS]) == milter.CONTINUE
    assert context.edits[0][0] == "DKIM-Signature"


def test_after_quit_nc_what_was_agreed_still_holds(bench):
    """The next client comes without a negotiation, and with a context that knows nothing."""
    bench.engine.close(bench.open())
    context = FakeContext()
    assert bench.engine.connect(context, "localhost", 2, ("127.0.0.1", 1)) == milter.NOREPLY
    assert bench.message(context) == milter.CONTINUE
    assert context.edits[0][1].startswith(" v=1; ")


def test_a_client_whose_connect_was_never_seen_is_not_trusted(bench):
    for address in (None, "/unix/path", ()):
        context = bench.open(address=address)
        bench.message(context)
        assert context.edits[0][0] == "Authentication-Results"
    assert bench.counted("phoenixdkim_unsigned_messages_total", reason="not_trusted") == 3


def test_an_authenticated_client_is_trusted_wherever_it_is(bench):
    context = bench.open(address=("192.0.2.1", 1), macros={"{auth_authen}": "alice"})
    bench.message(context)
    assert context.edits[0][0] == "DKIM-Signature"
    context.macros.pop("{auth_authen}")
    context.edits.clear()
    bench.message(context)
    assert context.edits[0][0] == "Authentication-Results", "it is asked anew for each message"


def test_macros_that_are_no_text_are_missing(bench):
    context = bench.open(macros={"i": UnicodeDecodeError("utf-8", b"\xff", 0, 1, "no"), "{auth_authen}": None})
    bench.message(context)
    assert bench.log.lines[0].startswith("-: summary")


@pytest.mark.parametrize("stage", ["header", "body", "end_of_message"])
def test_what_goes_wrong_in_one_message_is_fenced(bench, monkeypatch, stage):
    from phoenixdkim.milter import pymilter_engine as module

    class Broken(module.MessageSession):
        def header(self, name, value):
            if stage == "header":
                raise ValueError("broken")
            super().header(name, value)

        def body(self, chunk):
            if stage == "body":
                raise MemoryError("broken")
            super().body(chunk)

        def end_of_message(self, answers):
            raise RuntimeError("broken")

    context = bench.open()
    monkeypatch.setattr(module, "MessageSession", Broken)
    assert bench.message(context) == milter.TEMPFAIL
    assert context.reply == ("451", "4.3.0", "internal DKIM error, try again later")
    assert context.edits == []
    assert any("internal error at " + stage in line and "broken" in line for line in bench.log.lines)
    assert bench.counted("phoenixdkim_errors_total", stage=stage) == 1
    assert bench.counted("phoenixdkim_messages_total") == 1
    assert bench.counted("phoenixdkim_message_duration_seconds", action="error") == 1
    monkeypatch.undo()
    assert bench.message(context) == milter.CONTINUE, "the next message is not touched"
    assert context.edits[0][0] == "DKIM-Signature"


FORGED = [
    ("Authentication-Results", b" mx.example; dkim=pass"),
    *FIELDS,
    ("authentication-results", b" mx.example.net; dkim=pass"),
    ("AUTHENTICATION-RESULTS", b" mx.example; dkim=pass"),
]
REMOVED = [("AUTHENTICATION-RESULTS", 3, None), ("Authentication-Results", 1, None)]
DEFERRED = ("451", "4.3.0", "internal DKIM error, try again later")


def break_at(bench, monkeypatch, stage):
    """Raise an exception at this stage of each message."""
    from phoenixdkim.milter import pymilter_engine as module

    def raising(*_arguments):
        raise ValueError("broken")

    if stage == "envelope":
        monkeypatch.setattr(module, "_macro", raising)
    elif stage == "conclude":
        monkeypatch.setattr(module, "conclude", raising)
    elif stage == "begin":
        monkeypatch.setattr(module, "MessageSession", raising)
    else:
        monkeypatch.setattr(module.MessageSession, stage, raising)


@requirement("A06", "A07")
@pytest.mark.parametrize("inside", [True, False])
@pytest.mark.parametrize("stage", ["end_of_headers", "body", "end_of_message", "conclude"])
def test_an_internal_error_with_accept_removes_what_claims_our_name(policy, monkeypatch, stage, inside):
    import dataclasses

    bench = Bench(dataclasses.replace(policy, on_internal_error=Disposition.ACCEPT))
    context = bench.open(address=("127.0.0.1" if inside else "192.0.2.1", 1))
    break_at(bench, monkeypatch, stage)
    assert bench.message(context, FORGED) == milter.CONTINUE
    assert (context.edits, context.reply) == (REMOVED, None)


@requirement("A06")
@pytest.mark.parametrize("fields", [FORGED, FIELDS], ids=["forged", "none"])
@pytest.mark.parametrize("stage", ["envelope", "begin", "header"])
def test_an_internal_error_before_the_end_of_the_header_defers_instead_of_accepting(policy, monkeypatch, stage, fields):
    import dataclasses

    bench = Bench(dataclasses.replace(policy, on_internal_error=Disposition.ACCEPT))
    context = bench.open()
    break_at(bench, monkeypatch, stage)
    assert bench.message(context, fields) == milter.TEMPFAIL
    assert (context.edits, context.reply) == ([], DEFERRED)


@pytest.mark.parametrize("stage", ["begin", "header", "conclude"])
@pytest.mark.parametrize("how", ["off", "keep_from"])
def test_an_internal_error_with_accept_where_nothing_is_removed(policy, monkeypatch, stage, how):
    import dataclasses

    changes = {"remove_forged": RemoveForged.OFF} if how == "off" else {"keep_from": policy.networks}
    bench = Bench(dataclasses.replace(policy, on_internal_error=Disposition.ACCEPT, **changes))
    context = bench.open()
    break_at(bench, monkeypatch, stage)
    assert bench.message(context, FORGED) == milter.CONTINUE
    assert context.edits == []


@pytest.mark.parametrize("stage", ["header", "conclude"])
@pytest.mark.parametrize(
    ("disposition", "answer"), [(Disposition.TEMPFAIL, milter.TEMPFAIL), (Disposition.REJECT, milter.REJECT)]
)
def test_the_answer_to_an_internal_error_is_configurable(policy, monkeypatch, stage, disposition, answer):
    import dataclasses

    bench = Bench(dataclasses.replace(policy, on_internal_error=disposition))
    context = bench.open()
    break_at(bench, monkeypatch, stage)
    assert bench.message(context, FORGED) == answer
    assert context.edits == []


@pytest.mark.parametrize("refused", [0, 1, 2])
def test_an_mta_that_refuses_an_edit_is_told_to_defer_while_a_forged_field_is_left(policy, refused):
    """Two deletions, then a signature: only when both are done may the message be accepted."""
    import dataclasses

    bench = Bench(dataclasses.replace(policy, on_internal_error=Disposition.ACCEPT))
    context = bench.open()
    context.refuse_from = refused
    assert bench.message(context, FORGED) == (milter.CONTINUE if refused == 2 else milter.TEMPFAIL)
    assert context.edits == REMOVED[:refused]
    assert bench.counted("phoenixdkim_errors_total", stage="reply") == 1
    context.edits.clear()
    context.refuse_from = None
    assert bench.message(context, FORGED) == milter.CONTINUE
    assert [edit[0] for edit in context.edits] == [*(edit[0] for edit in REMOVED), "DKIM-Signature"]


def test_an_mta_that_refuses_the_edit(bench):
    context = bench.open()
    context.refuse_from = 0
    assert bench.message(context) == milter.TEMPFAIL
    assert bench.counted("phoenixdkim_errors_total", stage="reply") == 1


def test_negotiation_that_fails_leaves_everything_on(bench):
    assert bench.engine.negotiate(FakeContext(), ["x", "y"]) == milter.ALL_OPTS


def test_sessions_are_counted_and_bounded(policy):
    bench = Bench(policy, max_sessions=2)
    contexts = [bench.open() for _ in range(3)]
    assert bench.counted("phoenixdkim_sessions") == 3
    assert bench.message(contexts[2]) == milter.TEMPFAIL
    assert contexts[2].reply == ("421", "4.3.2", "too many sessions, try again later")
    assert bench.message(contexts[0]) == milter.CONTINUE
    for context in contexts:
        bench.engine.close(context)
        bench.engine.close(context)
    assert bench.counted("phoenixdkim_sessions") == 0
    assert bench.counted("phoenixdkim_unsigned_messages_total", reason="overloaded") == 1


def test_closing_puts_off_what_begins_and_finishes_what_has_begun(bench):
    begun, later = bench.open(), bench.open()
    bench.engine.envfrom(begun, b"<a@example.com>")
    assert bench.engine.messages == 1
    bench.engine.closing = True
    for name, value in FIELDS:
        bench.engine.header(begun, name, value)
    assert bench.engine.eom(begun) == milter.CONTINUE
    assert bench.message(later) == milter.TEMPFAIL
    assert later.reply[0] == "421"
    assert bench.engine.messages == 0


def test_abort_and_close_forget_the_message(bench):
    context = bench.open()
    bench.engine.envfrom(context, b"<a@example.com>")
    bench.engine.header(context, "From", b" somebody@else.example")
    bench.engine.abort(context)
    assert bench.engine.messages == 0
    bench.message(context)
    assert context.edits[0][0] == "DKIM-Signature", "one From, not two"
    bench.engine.envfrom(context, b"<a@example.com>")
    bench.engine.close(context)
    assert bench.engine.messages == 0
    assert bench.engine.abort(FakeContext()) == milter.CONTINUE


def test_a_message_without_header_and_body_gets_a_result(bench):
    context = bench.open(address=("192.0.2.1", 1))
    assert bench.engine.eom(context) == milter.CONTINUE
    assert context.edits == [("Authentication-Results", " mx.example;\n\tdkim=none", 0)]


def test_keys_from_the_cache_and_from_the_network(policy, pair, bench):
    signing = bench.open()
    bench.message(signing)
    signature = signing.edits[0][1].encode()
    fields = [("DKIM-Signature", signature), *FIELDS]
    answer = key_answer([pair.record.encode()], DnssecStatus.SECURE, Limits())
    name = b"main._domainkey.example.com"
    known = Bench(policy, FakeResolver({name: answer}))
    context = known.open(address=("192.0.2.1", 1))
    known.message(context, fields)
    assert "dkim=pass" in context.edits[0][1]
    assert known.counted("phoenixdkim_dns_cache_total", result="hit") == 1
    assert known.counted("phoenixdkim_dnssec_keys_total", status="secure") == 1
    resolver = FakeResolver()
    unknown = Bench(policy, resolver)
    context = unknown.open(address=("192.0.2.1", 1))
    unknown.message(context, fields)
    assert resolver.asked == [(name,)]
    assert "dkim=temperror" in context.edits[0][1]
    assert unknown.counted("phoenixdkim_dns_cache_total", result="miss") == 1


def test_forged_results_are_removed_from_the_last_to_the_first(bench):
    context = bench.open(address=("192.0.2.1", 1))
    forged = [("Authentication-Results", b" mx.example; dkim=pass")] * 2
    other = ("AUTHENTICATION-results", b" other.example; dkim=pass")
    bench.message(context, [forged[0], other, forged[1], *FIELDS])
    assert context.edits[:2] == [("Authentication-Results", 3, None), ("Authentication-Results", 1, None)]
    assert context.edits[2][0] == "Authentication-Results"


def test_quarantine(policy, pair):
    import dataclasses

    from phoenixdkim.dkim.results import Result

    bench = Bench(dataclasses.replace(policy, on_result={Result.NONE: Disposition.QUARANTINE}))
    context = bench.open(address=("192.0.2.1", 1))
    assert bench.message(context) == milter.CONTINUE
    assert context.quarantined == "DKIM none: no-signature"


def test_a_lost_log_line_is_counted(bench):
    bench.log.on_lost()
    assert bench.counted("phoenixdkim_log_lines_lost_total") == 1


class Uncaught:
    """Exceptions that pymilter has where it can't call us: told to ``sys.excepthook``, in the connection's context."""

    def __init__(self, bench, monkeypatch):
        self.passed_on = []
        monkeypatch.setattr(sys, "excepthook", lambda *told: self.passed_on.append(told[1]))
        bench.engine._watch_what_never_came()

    def tell(self, error):
        sys.excepthook(type(error), error, None)


NO_TEXT = UnicodeDecodeError("utf-8", b"X-\xff", 2, 3, "invalid start byte")


def test_a_field_name_that_never_reaches_us_leaves_the_message_unsigned(bench, monkeypatch):
    def check():
        uncaught = Uncaught(bench, monkeypatch)
        context = bench.open()
        bench.engine.envfrom(context, b"<a@example.com>")
        uncaught.tell(NO_TEXT)
        for name, value in FIELDS:
            bench.engine.header(context, name, value)
        assert bench.engine.eom(context) == milter.CONTINUE
        assert [edit[0] for edit in context.edits] == ["Authentication-Results"]
        assert bench.counted("phoenixdkim_unsigned_messages_total", reason="hidden_header_name") == 1
        context.edits.clear()
        bench.message(context)
        assert context.edits[0][0] == "DKIM-Signature", "the next message is not touched"
        assert uncaught.passed_on == []

    contextvars.copy_context().run(check)


def test_a_piece_that_memory_was_too_short_for_breaks_its_message_only(bench, monkeypatch):
    def check():
        uncaught = Uncaught(bench, monkeypatch)
        context = bench.open()
        bench.engine.envfrom(context, b"<a@example.com>")
        for name, value in FIELDS:
            bench.engine.header(context, name, value)
        bench.engine.body(context, b"one\r\n")
        uncaught.tell(MemoryError())
        bench.engine.body(context, b"three\r\n")
        assert bench.engine.eom(context) == milter.TEMPFAIL
        assert context.edits == []
        assert any("MemoryError" in line for line in bench.log.lines)
        assert bench.message(context) == milter.CONTINUE
        assert context.edits[0][0] == "DKIM-Signature"

    contextvars.copy_context().run(check)


@requirement("A06")
@pytest.mark.parametrize("in_body", [True, False])
def test_a_missing_piece_with_accept_defers_unless_the_header_was_read(policy, monkeypatch, in_body):
    """What is missing before the body may be an Authentication-Results field, so ordinals are unknown."""
    import dataclasses

    bench = Bench(dataclasses.replace(policy, on_internal_error=Disposition.ACCEPT))

    def check():
        uncaught = Uncaught(bench, monkeypatch)
        context = bench.open()
        bench.engine.envfrom(context, b"<a@example.com>")
        for name, value in FORGED:
            bench.engine.header(context, name, value)
        if in_body:
            bench.engine.body(context, b"one\r\n")
        uncaught.tell(MemoryError())
        bench.engine.body(context, b"three\r\n")
        assert bench.engine.eom(context) == (milter.CONTINUE if in_body else milter.TEMPFAIL)
        assert context.edits == (REMOVED if in_body else [])

    contextvars.copy_context().run(check)


@requirement("A06", "A07")
@pytest.mark.parametrize("inside", [True, False])
def test_fields_whose_names_never_reach_us_do_not_move_the_ordinals(bench, monkeypatch, inside):
    def check():
        uncaught = Uncaught(bench, monkeypatch)
        context = bench.open(address=("127.0.0.1" if inside else "192.0.2.1", 1))
        bench.engine.envfrom(context, b"<a@example.com>")
        for name, value in FORGED:
            uncaught.tell(NO_TEXT)
            bench.engine.header(context, name, value)
        uncaught.tell(NO_TEXT)
        assert bench.engine.eom(context) == milter.CONTINUE
        assert context.edits[:2] == REMOVED
        assert [edit[0] for edit in context.edits[2:]] == ["Authentication-Results"]

    contextvars.copy_context().run(check)


def test_an_error_past_all_fences_defers(policy, monkeypatch):
    """The answer of the exception policy, to go on, would accept the message as it is."""
    import dataclasses

    bench = Bench(dataclasses.replace(policy, on_internal_error=Disposition.ACCEPT))
    context = bench.open()
    for name, value in FORGED:
        bench.engine.header(context, name, value)

    def raising(*_arguments):
        raise MemoryError

    monkeypatch.setattr(bench.log, "info", raising)
    monkeypatch.setattr(bench.log, "error", raising)
    assert bench.engine.eom(context) == milter.TEMPFAIL
    assert bench.engine.messages == 0


def test_what_no_connection_has_to_do_with_is_passed_on(bench, monkeypatch):
    def check():
        uncaught = Uncaught(bench, monkeypatch)
        error = ValueError("of the main thread")
        uncaught.tell(error)
        assert uncaught.passed_on == [error]

    contextvars.Context().run(check)


def test_much_put_aside_is_handed_on(bench):
    """1 MB of fields is not kept twice: at 64 kB they go to the session, which has limits."""
    context = bench.open(address=("192.0.2.1", 1))
    bench.engine.envfrom(context, b"<a@example.com>")
    for _ in range(300):
        bench.engine.header(context, "X", b" " + b"x" * 10_000)
        assert sum(len(value) for _, value in context.private.raw) < 2 * 65_536
    assert sum(len(field.value) for field in context.private.session.fields) < 400_000
    assert bench.engine.eom(context) == milter.CONTINUE
