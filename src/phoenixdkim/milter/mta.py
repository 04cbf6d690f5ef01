"""What an MTA says of itself in the macros that it sends with a connection.

Postfix sends ``v`` as ``Postfix 3.7.11`` and ``j`` at connect (milter_connect_macros). Sendmail sends ``j``, ``_``,
``{daemon_name}``, ``{if_name}`` and ``{if_addr}`` then, and no ``v`` unless Milter.macros.connect has it (as 8.17.1.9);
Postfix knows neither ``{if_name}`` nor ``{if_addr}``. Measured with both.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from phoenixdkim import authres

_SENDMAIL_VERSION: Final = re.compile(r"8\.\d")


class MtaKind(StrEnum):
    """The program at the other end of the connection."""

    POSTFIX = "postfix"
    SENDMAIL = "sendmail"
    OTHER = "other"


LINE_LIMITS: Final[Mapping[MtaKind, int]] = {
    # Postfix breaks lines when it sends them (smtp_line_length_limit).
    MtaKind.POSTFIX: 998,
    # L=990 of Sendmail's SMTP mailers.
    MtaKind.SENDMAIL: 990,
    # RFC 5321 section 4.5.3.1.6, without CRLF.
    MtaKind.OTHER: 998,
}
"""Octets of a line, without CRLF, that the MTA passes on unbroken by default."""


@dataclass(frozen=True, slots=True)
class Mta:
    """The MTA of a connection.

    Attributes:
        kind: which program it is.
        name: its own host name, fit to be an authserv-id; empty if it sent none.
    """

    kind: MtaKind = MtaKind.OTHER
    name: bytes = b""


def identify(macro: Callable[[str], str]) -> Mta:
    """Return the MTA by its macros.

    Args:
        macro: the value of a macro, empty if it was not sent; called once a connection.
    """
    version = macro("v")
    if version.startswith("Postfix"):
        kind = MtaKind.POSTFIX
    elif _SENDMAIL_VERSION.match(version) or macro("{if_name}") or macro("{if_addr}"):
        kind = MtaKind.SENDMAIL
    else:
        kind = MtaKind.OTHER
    name = macro("j").encode("utf-8", "surrogateescape")
    return Mta(kind, name if authres.is_authserv_id(name) else b"")
