"""What became of one message: the one truth that the MTA, the log and the counters are told."""

from __future__ import annotations

from dataclasses import dataclass

from phoenixdkim.dkim.addresses import AddressFault
from phoenixdkim.dkim.results import Algorithm, Reason, Result, SignResult, UnsignedReason
from phoenixdkim.dkim.verify import SignatureVerdict
from phoenixdkim.events import Action, Stage
from phoenixdkim.policy import Disposition


@dataclass(frozen=True, slots=True)
class InsertField:
    """Insert a header field on top of the message; the value has its leading space, folds as CRLF and white space."""

    name: bytes
    value: bytes


@dataclass(frozen=True, slots=True)
class DeleteField:
    """Delete the ``ordinal``-th field of this name, counted from 1 without regard to case."""

    name: bytes
    ordinal: int


Edit = InsertField | DeleteField


@dataclass(frozen=True, slots=True)
class SmtpReply:
    """What the client is told instead of the MTA's own words."""

    code: str
    enhanced: str
    text: str


@dataclass(frozen=True, slots=True)
class SignatureMade:
    """One signature that was to be made."""

    domain: bytes
    selector: bytes
    algorithm: Algorithm
    result: SignResult


@dataclass(frozen=True, slots=True)
class Outcome:
    """The end of one message.

    Attributes:
        action: what was done.
        disposition: what the MTA is told to do.
        edits: changes to the header, in the order in which they must be made.
        signatures: signatures made or failed, when it was signed.
        verdicts: one for each signature of the message, when it was verified.
        result: the message's result, when it was verified.
        reason: why it has this result.
        unsigned: why it was not signed; None when it was.
        address_fault: what is wrong with the From field, when ``unsigned`` is ``invalid_from``.
        domain: the author's or the determinative signature's domain.
        reply: an SMTP reply of ours, with a disposition that refuses.
        stage: where an internal error happened.
    """

    action: Action
    disposition: Disposition = Disposition.ACCEPT
    edits: tuple[Edit, ...] = ()
    signatures: tuple[SignatureMade, ...] = ()
    verdicts: tuple[SignatureVerdict, ...] = ()
    result: Result | None = None
    reason: Reason | None = None
    unsigned: UnsignedReason | None = None
    address_fault: AddressFault | None = None
    domain: bytes = b""
    algorithm: Algorithm | None = None
    reply: SmtpReply | None = None
    stage: Stage | None = None
