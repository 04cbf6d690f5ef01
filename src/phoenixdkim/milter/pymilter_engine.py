"""The engine on libmilter: drives a ``MessageSession`` from pymilter's low-level callbacks.

This module and pymilter_listener are the only ones that import pymilter. All answers that the protocol lets a filter
leave out are negotiated away, so that a message costs three round trips, not thirty. Each callback is fenced: whatever
goes wrong in one message is logged, counted and answered as configured, and the next message starts anew.

libmilter moves a session between threads from callback to callback: all state hangs on the context.
"""

from __future__ import annotations

import ctypes
import sys
import threading
import time
import traceback
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final

import milter

from phoenixdkim import events
from phoenixdkim.dkim.results import UnsignedReason
from phoenixdkim.dns import Resolver
from phoenixdkim.events import Stage
from phoenixdkim.ledger import Batch, StripeWriter
from phoenixdkim.log import Log
from phoenixdkim.milter.accounting import count, summary
from phoenixdkim.milter.judging import conclude
from phoenixdkim.milter.mta import Mta, identify
from phoenixdkim.milter.outcome import DeleteField, Edit, InsertField, Outcome
from phoenixdkim.milter.session import Client, MessageSession, failed, refused
from phoenixdkim.policy import Disposition, Policy

_NEEDED: Final = milter.ADDHDRS | milter.CHGHDRS | milter.QUARANTINE
_UNWANTED: Final = milter.P_NOHELO | milter.P_NORCPT | milter.P_NODATA | milter.P_NOUNKNOWN | milter.P_NOEOH
_NO_REPLIES: Final = milter.P_NR_CONN | milter.P_NR_MAIL | milter.P_NR_HDR | milter.P_NR_BODY
_WANTED: Final = _UNWANTED | _NO_REPLIES | milter.P_HDR_LEADSPC

_MACROS: Final = {
    milter.M_CONNECT: ("j", "_", "v", "{daemon_name}", "{daemon_addr}", "{if_name}", "{if_addr}"),
    milter.M_ENVFROM: ("i", "{auth_type}", "{auth_authen}"),
}
"""Macros that the engine itself uses; to be asked for together with those of the configuration."""

_FIELDS_PUT_ASIDE: Final = 256
_OCTETS_PUT_ASIDE: Final = 65536
"""What is put aside before the session, which has limits, is given it."""

_MAX_PACKET: Final = 1_048_575
"""Octets of one milter packet, so of one header field (MILTER_MDS_1M). libmilter's own 65,535 are less than the
102,400 that Postfix lets a field have, and a longer packet ends the session."""

_ANSWERS: Final = {
    Disposition.ACCEPT: milter.CONTINUE,
    Disposition.QUARANTINE: milter.CONTINUE,
    Disposition.TEMPFAIL: milter.TEMPFAIL,
    Disposition.REJECT: milter.REJECT,
    Disposition.DISCARD: milter.DISCARD,
}


_current: ContextVar[_Connection | None] = ContextVar("_current", default=None)
"""The connection whose callback runs. pymilter keeps a thread state, and so a context, for each connection: what is set
in one callback is there in all later ones, whichever thread of libmilter's runs them."""


class _Connection:
    """What is known of one milter connection; hangs on the context."""

    __slots__ = (
        "address",
        "authenticated",
        "broken",
        "hidden",
        "in_message",
        "late",
        "leading_space",
        "macros",
        "mta",
        "overloaded",
        "raw",
        "raw_octets",
        "removals",
        "replies",
        "session",
        "started_ns",
        "under_way",
    )

    def __init__(self, protocol: int, overloaded: bool) -> None:
        self.address: str | None = None
        self.authenticated = False
        self.macros: dict[str, str] = {}
        self.mta = Mta()
        self.session: MessageSession | None = None
        self.raw: list[tuple[str, bytes]] = []
        self.raw_octets = 0
        self.hidden = False
        self.under_way = False
        self.in_message = False
        self.late = False
        self.broken: Stage | None = None
        self.removals: tuple[DeleteField, ...] | None = None
        """Of a broken message: the fields to be removed; None if its header was not read in full."""
        self.started_ns = 0
        self.overloaded = overloaded
        self.leading_space = bool(protocol & milter.P_HDR_LEADSPC)
        self.replies = {
            Stage.CONNECT: milter.NOREPLY if protocol & milter.P_NR_CONN else milter.CONTINUE,
            Stage.ENVELOPE: milter.NOREPLY if protocol & milter.P_NR_MAIL else milter.CONTINUE,
            Stage.HEADER: milter.NOREPLY if protocol & milter.P_NR_HDR else milter.CONTINUE,
            Stage.BODY: milter.NOREPLY if protocol & milter.P_NR_BODY else milter.CONTINUE,
        }

    def forget_message(self) -> None:
        self.session = None
        self.raw = []
        self.raw_octets = 0
        self.hidden = False
        self.under_way = False
        self.broken = None
        self.removals = None
        self.started_ns = 0


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """Settings of the engine.

    Attributes:
        max_sessions: connections of one worker beyond which messages are put off with 421.
        timeout: seconds that libmilter waits for the MTA.
    """

    max_sessions: int = 1000
    timeout: int = 7210


class Engine:
    """Runs the milter in this process. There can be one a process: libmilter keeps its callbacks in statics."""

    def __init__(
        self,
        policy: Policy,
        resolver: Resolver,
        writer: StripeWriter,
        log: Log,
        options: EngineOptions,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self.closing = False
        """Set when messages that begin from now on are to be put off with 421, so that clients come again and
        meet another worker. Those under way get their verdict."""
        self.messages = 0
        """Messages under way."""
        self._policy = policy
        self._resolver = resolver
        self._writer = writer
        self._log = log
        self._options = options
        self._wall_clock = wall_clock
        self._agreed = 0
        """What the last negotiation came to."""
        self._sessions = 0
        self._sessions_lock = threading.Lock()
        log.on_lost = self._line_lost

    def register(self) -> None:
        """Hand the callbacks to libmilter."""
        milter.set_flags(_NEEDED | milter.SETSYMLIST)
        # An exception that gets past the fences, as from bytes that pymilter can't decode, must not leave
        # the MTA waiting for an answer that a no-reply callback does not give.
        milter.set_exception_policy(milter.CONTINUE)
        milter.set_connect_callback(self.connect)
        milter.set_envfrom_callback(self.envfrom)
        milter.set_header_callback(self.header)
        milter.set_body_callback(self.body)
        milter.set_eom_callback(self.eom)
        milter.set_abort_callback(self.abort)
        milter.set_close_callback(self.close)
        milter.settimeout(self._options.timeout)
        milter.register("phoenixdkim", negotiate=self.negotiate)
        _allow_large_packets()
        self._watch_what_never_came()

    def _watch_what_never_came(self) -> None:
        """See to it that a callback that pymilter could not make is noticed.

        pymilter makes the arguments in C: a field name that is no UTF-8, or too little memory, and we are not called.
        The exception goes to ``sys.excepthook`` and nowhere else, in the thread state of the connection; by default it
        would be written to stderr, which may block.
        """
        before = sys.excepthook

        def hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
            connection = _current.get()
            if connection is None:
                before(kind, error, trace)
            elif not isinstance(error, UnicodeDecodeError):
                # A field or a piece of the body is missing: what is left must be neither signed nor judged.
                self._break(connection, Stage.BODY)
                self._log.error(f"internal error: {kind.__name__} where a message is taken in")
            elif connection.in_message:
                connection.hidden = True

        sys.excepthook = hook

    def run(self) -> None:
        """Serve. Returns only when libmilter fails."""
        milter.main()

    def _line_lost(self) -> None:
        batch = Batch()
        batch.add(events.LogLineLost())
        self._writer.record(batch)

    def _fence(self, connection: _Connection, stage: Stage) -> None:
        """Note an exception: the message is answered as broken, its end not expected to work."""
        self._break(connection, stage)
        text = traceback.format_exc().strip().replace("\n", " | ")
        self._log.error(f"internal error at {stage}: {text}")

    def _break(self, connection: _Connection, stage: Stage) -> None:
        """Give a message up; keep what is known of the fields that must be removed from it."""
        if connection.broken is None:
            connection.broken = stage
            header_read = connection.under_way or stage is Stage.END_OF_MESSAGE
            if self._policy.keeps_results(connection.address):
                connection.removals = ()
            elif header_read and connection.session is not None:
                connection.removals = connection.session.removals.edits
        connection.session = None

    # The callbacks. Each is called by a thread of libmilter's.

    def negotiate(self, context: Any, options: list[int]) -> int:
        """Leave out all steps and replies that the MTA lets us leave out."""
        try:
            self._agreed = protocol = options[1] & _WANTED
            self._open(context, protocol)
            options[0] = _NEEDED | self._ask_for_macros(context, options[0])
            options[1] = protocol
            options[2] = options[3] = 0
        except Exception:  # noqa: BLE001 - the fence
            # The MTA then offers everything, which all callbacks below can live with.
            self._agreed = 0
            self._log.error(f"internal error at negotiation: {traceback.format_exc()}")
            return milter.ALL_OPTS
        return milter.CONTINUE

    def _ask_for_macros(self, context: Any, offered: int) -> int:
        """Ask for the macros of the configuration, where the MTA lets a filter ask; returns the flag for it."""
        if not self._policy.macro_names or not offered & milter.SETSYMLIST:
            return 0
        for stage, usual in _MACROS.items():
            # The list takes the place of the MTA's own one for this stage.
            context.setsymlist(stage, " ".join(dict.fromkeys((*usual, *self._policy.macro_names))))
        return int(milter.SETSYMLIST)

    def _open(self, context: Any, protocol: int) -> _Connection:
        with self._sessions_lock:
            self._sessions += 1
            sessions = self._sessions
            self._writer.set_sessions(sessions)
        connection = _Connection(protocol, sessions > self._options.max_sessions)
        context.setpriv(connection)
        _current.set(connection)
        return connection

    def _connection(self, context: Any) -> _Connection:
        # After QUIT_NC the next client comes over the same connection without a negotiation, and pymilter has dropped
        # what hung on the context; MTAs negotiate alike each time, so what was agreed last holds for it.
        connection = context.getpriv()
        return connection if connection is not None else self._open(context, self._agreed)

    def connect(self, context: Any, _hostname: str, _family: int, address: Any) -> int:
        """Note the client's address, and what the MTA says of itself."""
        connection = self._connection(context)
        try:
            connection.mta = identify(lambda name: _macro(context, name))
            if isinstance(address, tuple) and address and isinstance(address[0], str):
                connection.address = address[0]
        except Exception:  # noqa: BLE001 - the fence
            self._fence(connection, Stage.CONNECT)
        return connection.replies[Stage.CONNECT]

    def envfrom(self, context: Any, *_arguments: object) -> int:
        """Begin a message; note whether the client has authenticated."""
        connection = self._connection(context)
        try:
            self._end(connection)
            self._start(connection)
            connection.authenticated = bool(_macro(context, "{auth_authen}") or _macro(context, "{auth_type}"))
            if names := self._policy.macro_names:
                connection.macros = {name: _macro(context, name) for name in names}
        except Exception:  # noqa: BLE001 - the fence
            self._fence(connection, Stage.ENVELOPE)
        return connection.replies[Stage.ENVELOPE]

    def _start(self, connection: _Connection) -> None:
        connection.in_message = True
        connection.late = self.closing
        with self._sessions_lock:
            self.messages += 1

    def _end(self, connection: _Connection) -> None:
        connection.forget_message()
        if connection.in_message:
            connection.in_message = False
            with self._sessions_lock:
                self.messages -= 1

    def _begin(self, connection: _Connection) -> MessageSession:
        if not connection.in_message:
            self._start(connection)
        if not connection.started_ns:
            connection.started_ns = time.monotonic_ns()
        connection.session = session = MessageSession(
            self._policy,
            Client(connection.address, connection.authenticated, connection.macros, connection.mta),
            int(self._wall_clock()),
        )
        return session

    def header(self, context: Any, name: str, text: bytes) -> int:
        """Take one header field.

        It is only put aside: libmilter's threads queue for the interpreter at each field, so the less is done here
        the less they wait for each other.
        """
        connection = self._connection(context)
        try:
            raw = connection.raw
            raw.append((name, text))
            connection.raw_octets += len(text)
            if not connection.started_ns:
                connection.started_ns = time.monotonic_ns()
            if len(raw) >= _FIELDS_PUT_ASIDE or connection.raw_octets >= _OCTETS_PUT_ASIDE:
                self._take_fields(connection)
        except Exception:  # noqa: BLE001 - the fence
            self._fence(connection, Stage.HEADER)
        return connection.replies[Stage.HEADER]

    def _take_fields(self, connection: _Connection) -> None:
        """Hand the fields put aside to the session."""
        raw, connection.raw = connection.raw, []
        connection.raw_octets = 0
        if connection.broken is not None or connection.overloaded or not raw:
            return
        try:
            session = connection.session or self._begin(connection)
            leading_space = connection.leading_space
            for name, text in raw:
                if b"\n" in text:
                    text = text.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
                # Without the MTA's own leading space the usual single one is the best guess.
                session.header(name.encode(), text if leading_space else b" " + text)
        except Exception:  # noqa: BLE001 - the fence
            self._fence(connection, Stage.HEADER)

    def body(self, context: Any, chunk: bytes) -> int:
        """Take a piece of the body."""
        connection = self._connection(context)
        try:
            if connection.raw:
                self._take_fields(connection)
            if connection.broken is None and not connection.overloaded:
                session = connection.session or self._begin(connection)
                if not connection.under_way:
                    connection.under_way = True
                    self._end_of_headers(connection, session)
                session.body(chunk)
        except Exception:  # noqa: BLE001 - the fence
            self._fence(connection, Stage.BODY)
        return connection.replies[Stage.BODY]

    @staticmethod
    def _end_of_headers(connection: _Connection, session: MessageSession) -> None:
        if connection.hidden:
            session.hidden_header()
        session.end_of_headers()

    def eom(self, context: Any) -> int:
        """Finish the message: tell the MTA, the log and the ledger the same outcome."""
        try:
            connection = self._connection(context)
            try:
                return self._finish(context, connection)
            finally:
                self._end(connection)
        except Exception:  # noqa: BLE001 - pymilter's answer would accept the message as it is
            return milter.TEMPFAIL

    def _finish(self, context: Any, connection: _Connection) -> int:
        if not connection.started_ns:
            connection.started_ns = time.monotonic_ns()
        if connection.raw:
            self._take_fields(connection)
        batch = Batch()
        try:
            outcome = self._outcome(connection, batch)
        except Exception:  # noqa: BLE001 - the fence
            self._fence(connection, Stage.END_OF_MESSAGE)
            outcome = failed(Stage.END_OF_MESSAGE, self._policy.on_internal_error, connection.removals)
        edits = list(outcome.edits)
        try:
            answer = self._reply(context, connection, outcome, edits)
        except Exception:  # noqa: BLE001 - the fence: the MTA refused an edit, or is gone
            self._fence(connection, Stage.REPLY)
            left = any(isinstance(edit, DeleteField) for edit in edits)
            outcome = failed(Stage.REPLY, self._policy.on_internal_error, None if left else ())
            answer = _ANSWERS[outcome.disposition]
        try:
            self._log.info(summary(_macro(context, "i"), outcome))
            count(outcome, (time.monotonic_ns() - connection.started_ns) / 1e9, batch)
            self._writer.record(batch)
        except Exception:  # noqa: BLE001 - the fence: a message is answered even when it can't be counted
            self._log.error(f"internal error in accounting: {traceback.format_exc()}")
        return answer

    def _outcome(self, connection: _Connection, batch: Batch) -> Outcome:
        if connection.overloaded:
            return refused(UnsignedReason.OVERLOADED)
        if connection.late:
            return refused(UnsignedReason.CLOSING)
        if connection.broken is not None:
            return failed(connection.broken, self._policy.on_internal_error, connection.removals)
        session = connection.session or self._begin(connection)
        if not connection.under_way:
            self._end_of_headers(connection, session)
        return conclude(session, self._resolver, batch.add)

    def _reply(self, context: Any, connection: _Connection, outcome: Outcome, edits: list[Edit]) -> int:
        """Tell the MTA the outcome; edits that are done are taken from the list."""
        while edits:
            edit = edits[0]
            if isinstance(edit, InsertField):
                text = edit.value.replace(b"\r\n", b"\n").decode()
                context.addheader(edit.name.decode(), text if connection.leading_space else text.lstrip(" "), 0)
            else:
                context.chgheader(edit.name.decode(), edit.ordinal, None)
            del edits[0]
        if outcome.disposition is Disposition.QUARANTINE:
            context.quarantine(f"DKIM {outcome.result}: {outcome.reason}")
        if outcome.reply is not None:
            context.setreply(outcome.reply.code, outcome.reply.enhanced, outcome.reply.text)
        return _ANSWERS[outcome.disposition]

    def abort(self, context: Any) -> int:
        """The MTA gave this message up; another may follow on the same connection."""
        connection = context.getpriv()
        if connection is not None:
            self._end(connection)
        return milter.CONTINUE

    def close(self, context: Any) -> int:
        """The connection is gone."""
        connection = context.getpriv()
        if connection is not None:
            self._end(connection)
            context.setpriv(None)
            with self._sessions_lock:
                self._sessions -= 1
                self._writer.set_sessions(self._sessions)
        return milter.CONTINUE


def _allow_large_packets() -> None:
    """Let libmilter take packets of ``_MAX_PACKET`` octets; pymilter has no function for it."""
    library = ctypes.CDLL(milter.__file__)
    try:
        set_size = library.smfi_setmaxdatasize
    except AttributeError:
        # A libmilter older than 8.14: fields over 65,535 octets end the session, as they always did there.
        return
    set_size.restype, set_size.argtypes = ctypes.c_size_t, [ctypes.c_size_t]
    set_size(_MAX_PACKET)


def _macro(context: Any, name: str) -> str:
    try:
        return context.getsymval(name) or ""
    except UnicodeDecodeError:
        # pymilter decodes macros as UTF-8; one that is not can't be had.
        return ""
