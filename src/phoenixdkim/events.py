"""Typed events: what the core tells exporters.

An event says that something happened, once. Its fields are labels, and each label is a member of a closed enum;
nothing that comes from mail fits in. ``@event`` refuses any other field when the class is defined, and the
registry closes when this module has been imported, so that no plugin can add an event.

An exporter reads of an event its class, its ``labels()`` and, for durations, its class's ``measure``. The classes
are those of ``event_types()``; each instance that can exist is in ``combinations()`` of its class.

Stability: within one ``API_VERSION`` event classes, fields, members of enums, hooks, arguments of hooks, metrics and
options are only ever added; none is renamed, removed or given another meaning. So an exporter passes over event
classes and labels that it does not know, and keeps working. ``API_VERSION`` is raised when that can't be kept; an
exporter that names another version in ``api_version`` is refused with a message, and never half used. What begins
with an underscore, and every module but ``events``, ``hookspecs``, ``metrics``, ``options`` and ``testing``, may
change in any release.
"""

from __future__ import annotations

import dataclasses
import inspect
import itertools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum, EnumType, Flag, StrEnum
from typing import ClassVar, Final, TypeVar, cast, dataclass_transform, get_type_hints

from phoenixdkim.dkim.results import (
    Algorithm,
    DnssecStatus,
    Result,
    SignResult,
    UnsignedReason,
)

API_VERSION: Final = 1
"""Version of the exporter interface: events, hooks, metrics, options."""

MAX_COMBINATIONS: Final = 200
"""The most label combinations that one event or metric may have."""
MAX_MEMBERS: Final = 64
"""The most members that the enum of a label may have, aliases included."""


class LabelError(TypeError):
    """An event or metric whose labels are not bounded. The message names class, field and reason."""


@dataclass(frozen=True, slots=True)
class Measure:
    """A duration that goes with an event.

    Attributes:
        name: what is measured, as in ``duration``.
        buckets: upper bounds of the histogram's buckets, in seconds, rising; +Inf is implied.
    """

    name: str
    buckets: tuple[float, ...]


class Event:
    """Base of all events. Instances are immutable, hashable, and compare by their labels."""

    __slots__ = ()
    measure: ClassVar[Measure | None] = None

    @classmethod
    def label_enums(cls) -> dict[str, type[Enum]]:
        """Label names of this event and their enums, in order of definition."""
        return dict(_LABELS[cls])

    @classmethod
    def combinations(cls) -> tuple[Event, ...]:
        """Every event of this class that can exist, in order of definition of its labels' members."""
        enums = _LABELS[cls]
        return tuple(cls(*values) for values in itertools.product(*enums.values()))

    def labels(self) -> dict[str, str]:
        """Label names and values of this event, as text."""
        return {name: str(getattr(self, name).value) for name in _LABELS[type(self)]}


_LABELS: dict[type[Event], Mapping[str, type[Enum]]] = {}
_closed = False
_E = TypeVar("_E", bound=Event)


def closed_set(owner: str, field: str, kind: object) -> tuple[tuple[Enum, str], ...]:
    """The members of ``kind`` and their label values, when it is a closed enum that may serve as a label.

    Everything is read once, here: what becomes of the enum later has no effect on whoever keeps the answer.

    Args:
        owner: whose label it is, for the message.
        field: the label's name, for the message.
        kind: the enum.

    Raises:
        LabelError: it is no enum, has no members, too many, may get more, or has values that are not short plain text.
    """
    where = f"{owner}: label '{field}'"
    if not (isinstance(kind, type) and issubclass(kind, Enum)):
        shown = getattr(kind, "__name__", str(kind))
        raise LabelError(f"{where} is of type {shown}; a label must be an Enum with a fixed set of members")
    name = kind.__name__
    if type(kind) is not EnumType:
        raise LabelError(f"{where}: enum {name} has a metaclass of its own ({type(kind).__name__}); use a plain Enum")
    if issubclass(kind, Flag):
        raise LabelError(f"{where}: {name} is a Flag, whose members combine into others; use a StrEnum")
    if not kind.__members__:
        raise LabelError(f"{where}: enum {name} has no members")
    if len(kind.__members__) > MAX_MEMBERS:
        raise LabelError(f"{where}: enum {name} has {len(kind.__members__)} members; {MAX_MEMBERS} is the most")
    if getattr(kind._missing_, "__func__", None) is not Enum._missing_.__func__:  # type: ignore[attr-defined]
        raise LabelError(
            f"{where}: enum {name} has a _missing_ method, which can make members on demand; look the member up before"
        )
    found: list[tuple[Enum, str]] = []
    for member_name, member in kind.__members__.items():
        value = member._value_
        # Text of just this type: a subclass could answer differently each time it is asked.
        if type(value) is not str or not value or len(value) > 64 or not value.isascii():
            raise LabelError(
                f"{where}: {name}.{member_name} has the value {value!r:.80};"
                " a text of 1 to 64 ASCII characters is needed"
            )
        if not all(c.isalnum() or c in "_-." for c in value):
            raise LabelError(
                f"{where}: {name}.{member_name} has the value {value!r}; letters, digits, '_', '-' and '.' are allowed"
            )
        if all(member is not known for known, _ in found):
            found.append((member, value))
    if len({value for _, value in found}) != len(found):
        raise LabelError(f"{where}: two members of enum {name} have one value")
    return tuple(found)


def check_label_enum(owner: str, field: str, kind: object) -> type[Enum]:
    """Return ``kind`` when it is a closed enum of text values that may serve as a label.

    Raises:
        LabelError: as ``closed_set`` does.
    """
    closed_set(owner, field, kind)
    return cast(type[Enum], kind)


@dataclass_transform(frozen_default=True)
def event(*, measure: Measure | None = None) -> Callable[[type[_E]], type[_E]]:
    """Define an event class: a frozen dataclass whose fields are all closed enums.

    Raises:
        LabelError: a field is anything else, there are too many combinations, or the registry is closed.
    """

    def define(cls: type[_E]) -> type[_E]:
        if _closed:
            raise LabelError(f"{cls.__name__}: events belong to the core; a plugin can't define one")
        hints = get_type_hints(cls, include_extras=True)
        labels = {name: check_label_enum(cls.__name__, name, hints[name]) for name in inspect.get_annotations(cls)}
        if (size := math.prod(len(kind) for kind in labels.values())) > MAX_COMBINATIONS:
            raise LabelError(f"{cls.__name__}: {size} label combinations; {MAX_COMBINATIONS} is the most")
        made = cast(type[_E], dataclasses.dataclass(frozen=True, slots=True)(cls))
        if {field.name for field in dataclasses.fields(made)} != set(labels):  # type: ignore[arg-type]
            raise LabelError(f"{cls.__name__}: an event has just the labels of its own class; it inherits none")
        _compare_by_identity(made, tuple(labels))
        made.measure = measure
        _LABELS[made] = labels
        return made

    return define


def _compare_by_identity(made: type[Event], names: tuple[str, ...]) -> None:
    """Let two events be equal when class and members are the same ones.

    A StrEnum's member equals its text; an event that was made with that text must not pass for one with the member.
    """
    # Written out as dataclasses does it: each message compares several events.
    same = "".join(f" and self.{name} is other.{name}" for name in names)
    space: dict[str, object] = {"made": made}
    exec(f"def __eq__(self, other): return type(other) is made{same}", space)  # noqa: S102 - of the core's own names
    setattr(made, "__eq__", space["__eq__"])  # noqa: B010 - assigning to a method is an error to mypy


def event_types() -> tuple[type[Event], ...]:
    """All event classes, in order of definition."""
    return tuple(_LABELS)


class Action(StrEnum):
    """What was done with a message."""

    SIGN = "sign"
    VERIFY = "verify"
    PASS = "pass"  # noqa: S105 - an action, not a password
    ERROR = "error"


class DnsResult(StrEnum):
    """How a question put to the network ended. NXDOMAIN and an empty answer are a success."""

    SUCCESS = "success"
    TIMEOUT = "timeout"
    ERROR = "error"


class CacheResult(StrEnum):
    """What the key cache knew of a name that was asked for."""

    HIT = "hit"
    NEGATIVE_HIT = "negative_hit"
    MISS = "miss"


class Stage(StrEnum):
    """Where an internal error happened."""

    CONNECT = "connect"
    ENVELOPE = "envelope"
    HEADER = "header"
    BODY = "body"
    END_OF_MESSAGE = "end_of_message"
    REPLY = "reply"
    PROCESSES = "processes"


DNS_BUCKETS: Final = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
MESSAGE_BUCKETS: Final = (
    0.0005,
    0.001,
    0.0025,
    0.005,
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    0.5,
    1.0,
    2.5,
    5.0,
    10.0,
)


@event(measure=Measure("duration", MESSAGE_BUCKETS))
class MessageProcessed(Event):
    """A message reached its end. The measure is the time from its first header field to our reply."""

    action: Action


@event()
class MessageSigned(Event):
    """One signature was made and handed to the MTA, or failed."""

    result: SignResult
    algorithm: Algorithm


@event()
class MessageVerified(Event):
    """A message was verified; ``result`` is that of its determinative signature."""

    result: Result


@event()
class SignatureVerified(Event):
    """One signature of a message was evaluated."""

    result: Result
    algorithm: Algorithm


@event()
class MessageUnsigned(Event):
    """A message was not signed, and why."""

    reason: UnsignedReason


@event()
class DnsQuery(Event):
    """One question was put to the network for a look-up, its retries and TCP included."""


@event(measure=Measure("duration", DNS_BUCKETS))
class DnsResponse(Event):
    """A question ended. The measure is the time that it took."""

    result: DnsResult


@event()
class DnsCacheLookup(Event):
    """The key cache was asked."""

    result: CacheResult


@event()
class DnssecKey(Event):
    """A key was looked up for a signature, and was had or could not be; ``status``: how far DNSSEC vouches for it."""

    status: DnssecStatus


@event()
class InternalError(Event):
    """An unexpected exception was caught: in a message, answered as configured, or in watching child processes."""

    stage: Stage


@event()
class LogLineLost(Event):
    """A line could not be written to the log without waiting, and was dropped."""


@event()
class WorkerRestarted(Event):
    """A worker process ended unasked and was replaced."""


_closed = True
