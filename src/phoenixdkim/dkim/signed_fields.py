"""The header fields that are signed by default, how, and why (RFC 6376 sections 5.4 and 8.15).

A field that is oversigned is named in h= once more than it occurs: adding another one breaks the signature. Oversigning
a field that is absent also breaks it when a hop adds the first one, as the next MTA does with a missing Date.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Coverage(StrEnum):
    """How a field is named in h=. The stricter one holds for a name that is in several lists."""

    OVERSIGNED = "oversigned_headers"
    OVERSIGNED_IF_PRESENT = "oversigned_if_present"
    SIGNED = "signed_headers"


@dataclass(frozen=True, slots=True)
class SignedField:
    """One row of the table of fields.

    Attributes:
        name: name of the field.
        coverage: how it is named in h=; its value is the option under ``signing``.
        reason: why, in words for the manual.
    """

    name: bytes
    coverage: Coverage
    reason: str


def _rows(coverage: Coverage, reason: str, *names: bytes) -> tuple[SignedField, ...]:
    return tuple(SignedField(name, coverage, reason) for name in names)


_ALWAYS: Final = Coverage.OVERSIGNED
_PRESENT: Final = Coverage.OVERSIGNED_IF_PRESENT
_SIGNED: Final = Coverage.SIGNED

SIGNED_FIELDS: Final[tuple[SignedField, ...]] = (
    *_rows(_ALWAYS, "the author; must be signed, and readers may show a second one (RFC 6376 section 8.15)", b"From"),
    *_rows(_ALWAYS, "shown to the reader; no hop adds a missing one", b"Subject"),
    *_rows(_ALWAYS, "decides who gets the answer; no hop adds a missing one", b"Reply-To"),
    *_rows(_PRESENT, "shown to the reader; the next MTA adds a missing one (RFC 6409 section 8.3)", b"Date"),
    *_rows(_PRESENT, "shown to the reader; some MTAs add 'undisclosed-recipients:;' for a missing one", b"To"),
    *_rows(_PRESENT, "shown to the reader; the first Cc is added by some gateways", b"Cc"),
    *_rows(_PRESENT, "decides how the body is read; gateways and MTAs that convert add a missing one", b"MIME-Version"),
    *_rows(_PRESENT, "decides how the body is read; gateways and MTAs that convert add a missing one", b"Content-Type"),
    *_rows(
        _PRESENT,
        "readers act on it with one click (RFC 8058 section 4); mailing lists add a missing one",
        b"List-Unsubscribe",
        b"List-Unsubscribe-Post",
    ),
    *_rows(_SIGNED, "the agent that sent it (RFC 6376 section 5.4.1); mailing lists set their own", b"Sender"),
    *_rows(_SIGNED, "identifies the message (RFC 6376 section 5.4.1); the next MTA adds a missing one", b"Message-ID"),
    *_rows(
        _SIGNED,
        "parts of the body's description (RFC 6376 section 5.4.1)",
        b"Content-Transfer-Encoding",
        b"Content-ID",
        b"Content-Description",
    ),
    *_rows(
        _SIGNED,
        "of the last resending (RFC 6376 section 5.4.1); each resending adds a block of them",
        b"Resent-Date",
        b"Resent-From",
        b"Resent-Sender",
        b"Resent-To",
        b"Resent-Cc",
        b"Resent-Message-ID",
    ),
    *_rows(_SIGNED, "the message's place in a thread (RFC 6376 section 5.4.1)", b"In-Reply-To", b"References"),
    *_rows(
        _SIGNED,
        "of the mailing list (RFC 6376 section 5.4.1); a list that passes the message on adds its own",
        b"List-Id",
        b"List-Help",
        b"List-Subscribe",
        b"List-Post",
        b"List-Owner",
        b"List-Archive",
    ),
    *_rows(_SIGNED, "names campaign and customer in feedback to the sender; must be signed to count", b"Feedback-ID"),
    *_rows(
        _SIGNED,
        "where complaints go; must be signed to count (RFC 9477 section 3.1)",
        b"CFBL-Address",
        b"CFBL-Feedback-ID",
    ),
    *_rows(_SIGNED, "chooses the logo that is shown; must be signed to count (BIMI)", b"BIMI-Selector"),
    *_rows(_SIGNED, "the author's encryption key (Autocrypt 1.1); a forged one misleads answers", b"Autocrypt"),
    *_rows(_SIGNED, "the author's encryption key; a forged one misleads answers", b"OpenPGP"),
    *_rows(_SIGNED, "says that no person wrote it, which stops automatic answers (RFC 3834)", b"Auto-Submitted"),
)


def default_names(coverage: Coverage) -> tuple[bytes, ...]:
    """Return the default of the list, in order of the table.

    ``SIGNED`` has every field: those that the other lists name are signed, too, when these lists are emptied.
    """
    return tuple(row.name for row in SIGNED_FIELDS if coverage in (row.coverage, Coverage.SIGNED))
