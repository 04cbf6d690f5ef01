"""The words of the milter protocol: what MTA and filter offer, say and answer, and what a header is after it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, IntFlag, StrEnum
from typing import Final

Field = tuple[bytes, bytes]
"""A header field: name, and value with the blank that follows the colon. Folds are CRLF or LF, then white space."""


class Actions(IntFlag):
    """What a filter may do to a message (SMFIF_*)."""

    ADDHDRS = 0x01
    CHGBODY = 0x02
    ADDRCPT = 0x04
    DELRCPT = 0x08
    CHGHDRS = 0x10
    QUARANTINE = 0x20
    CHGFROM = 0x40
    ADDRCPT_PAR = 0x80
    SETSYMLIST = 0x100


class Protocol(IntFlag):
    """What the MTA offers to leave out or to do (SMFIP_*)."""

    NOCONNECT = 0x01
    NOHELO = 0x02
    NOMAIL = 0x04
    NORCPT = 0x08
    NOBODY = 0x10
    NOHDRS = 0x20
    NOEOH = 0x40
    NR_HDR = 0x80
    NOUNKNOWN = 0x100
    NODATA = 0x200
    SKIP = 0x400
    RCPT_REJ = 0x800
    NR_CONN = 0x1000
    NR_HELO = 0x2000
    NR_MAIL = 0x4000
    NR_RCPT = 0x8000
    NR_DATA = 0x10000
    NR_UNKN = 0x20000
    NR_EOH = 0x40000
    NR_BODY = 0x80000
    HDR_LEADSPC = 0x100000


ALL_ACTIONS: Final = Actions(0x1FF)
ALL_PROTOCOL: Final = Protocol(0x1FFFFF)


class Step(Enum):
    """A step of the protocol: its command, the bit that leaves it out, the bit that leaves its answer out."""

    CONNECT = (b"C", Protocol.NOCONNECT, Protocol.NR_CONN)
    HELO = (b"H", Protocol.NOHELO, Protocol.NR_HELO)
    MAIL = (b"M", Protocol.NOMAIL, Protocol.NR_MAIL)
    RCPT = (b"R", Protocol.NORCPT, Protocol.NR_RCPT)
    DATA = (b"T", Protocol.NODATA, Protocol.NR_DATA)
    HEADER = (b"L", Protocol.NOHDRS, Protocol.NR_HDR)
    EOH = (b"N", Protocol.NOEOH, Protocol.NR_EOH)
    BODY = (b"B", Protocol.NOBODY, Protocol.NR_BODY)
    EOM = (b"E", Protocol(0), Protocol(0))
    UNKNOWN = (b"U", Protocol.NOUNKNOWN, Protocol.NR_UNKN)


class Disposition(StrEnum):
    """How a filter answered. An SMTP reply of its own (SMFIR_REPLYCODE) counts by its first digit."""

    CONTINUE = "continue"
    ACCEPT = "accept"
    REJECT = "reject"
    TEMPFAIL = "tempfail"
    DISCARD = "discard"
    SKIP = "skip"
    SHUTDOWN = "shutdown"
    CONNECTION_FAILED = "connection-failed"


FINAL: Final = {
    b"c": Disposition.CONTINUE,
    b"a": Disposition.ACCEPT,
    b"r": Disposition.REJECT,
    b"t": Disposition.TEMPFAIL,
    b"d": Disposition.DISCARD,
    b"s": Disposition.SKIP,
    b"4": Disposition.SHUTDOWN,
    b"f": Disposition.CONNECTION_FAILED,
}


class Change(StrEnum):
    """What a modification changes."""

    ADD_HEADER = "add-header"
    INSERT_HEADER = "insert-header"
    CHANGE_HEADER = "change-header"
    REPLACE_BODY = "replace-body"
    ADD_RECIPIENT = "add-recipient"
    DELETE_RECIPIENT = "delete-recipient"
    CHANGE_SENDER = "change-sender"
    QUARANTINE = "quarantine"


CHANGES: Final = {
    b"h": Change.ADD_HEADER,
    b"i": Change.INSERT_HEADER,
    b"m": Change.CHANGE_HEADER,
    b"b": Change.REPLACE_BODY,
    b"+": Change.ADD_RECIPIENT,
    b"2": Change.ADD_RECIPIENT,
    b"-": Change.DELETE_RECIPIENT,
    b"e": Change.CHANGE_SENDER,
    b"q": Change.QUARANTINE,
}


@dataclass(frozen=True, slots=True)
class Modification:
    """One change that the filter asked for.

    Attributes:
        change: what is changed.
        index: position of an inserted field (from 0) or ordinal of a changed one (from 1); else -1.
        name: name of the header field, or empty.
        value: its value as sent, or the whole payload of the other changes.
    """

    change: Change
    index: int
    name: bytes
    value: bytes


@dataclass(frozen=True, slots=True)
class Reply:
    """The answer to a step or to a whole message.

    Attributes:
        disposition: what the MTA is to do.
        smtp: the filter's own SMTP reply as in ``451 4.7.1 text``, or empty.
        modifications: what it changed, in order.
        step: where the message ended.
        leading_space: SMFIP_HDR_LEADSPC was agreed: values bring their own leading blank.
        progress: number of SMFIR_PROGRESS packets that came before the answer.
    """

    disposition: Disposition
    smtp: bytes = b""
    modifications: tuple[Modification, ...] = ()
    step: Step = Step.EOM
    leading_space: bool = True
    progress: int = 0


@dataclass(frozen=True, slots=True)
class Negotiated:
    """What filter and MTA agreed on. ``symbols`` has the macros asked for, by the number of the stage."""

    version: int
    actions: Actions
    protocol: Protocol
    symbols: Mapping[int, bytes]


def modification(change: Change, payload: bytes) -> Modification:
    """Read the payload of a change."""
    if change in {Change.INSERT_HEADER, Change.CHANGE_HEADER}:
        name, _, value = payload[4:].partition(b"\0")
        return Modification(change, int.from_bytes(payload[:4], "big"), name, value.removesuffix(b"\0"))
    if change is Change.ADD_HEADER:
        name, _, value = payload.partition(b"\0")
        return Modification(change, -1, name, value.removesuffix(b"\0"))
    if change is Change.REPLACE_BODY:
        return Modification(change, -1, b"", payload)
    return Modification(change, -1, b"", payload.removesuffix(b"\0"))


def apply(reply: Reply, fields: Sequence[Field]) -> list[Field]:
    """The header after the reply's modifications, as Postfix makes them; the given fields are left alone.

    Index 0 inserts on top. A change counts the fields of its name in the header as it is by then, without regard to
    case and white space before the colon; an empty value deletes; a field that does not exist is added at the end.
    Folds come out as CRLF.
    """
    result = [(name, value.replace(b"\r\n", b"\n")) for name, value in fields]
    for change in reply.modifications:
        value = change.value if reply.leading_space else b" " + change.value
        if change.change is Change.ADD_HEADER:
            result.append((change.name, value))
        elif change.change is Change.INSERT_HEADER:
            result.insert(change.index, (change.name, value))
        elif change.change is Change.CHANGE_HEADER:
            same = [i for i, (name, _) in enumerate(result) if _plain(name) == _plain(change.name)]
            ordinal = max(change.index, 1)
            if ordinal > len(same):
                if change.value:
                    result.append((change.name, value))
            elif change.value:
                result[same[ordinal - 1]] = (change.name, value)
            else:
                del result[same[ordinal - 1]]
    return [(name, value.replace(b"\n", b"\r\n")) for name, value in result]


def _plain(name: bytes) -> bytes:
    return name.rstrip(b" \t").lower()
