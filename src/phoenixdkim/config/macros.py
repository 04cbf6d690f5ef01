"""Macro conditions in the configuration: ``"{daemon_name}" = ["ORIGINATING"]``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

_TOO_LATE: Final = ("{rcpt_", "{msg_id}")
_OF_EVERY_CLIENT: Final = frozenset(
    (
        *("j", "v", "_", "i", "{daemon_name}", "{daemon_addr}", "{daemon_port}", "{if_name}", "{if_addr}"),
        *("{client_addr}", "{client_name}", "{client_port}", "{client_ptr}", "{client_connections}"),
        *("{client_resolve}", "{mail_addr}", "{mail_host}", "{mail_mailer}"),
    )
)
"""Macros that Postfix or Sendmail send whoever the client is."""


def macro_name(text: str) -> str:
    """Return a macro's name as the milter protocol has it: one character, or several in braces.

    Raises:
        ValueError: it is not a name, or of a macro that is sent too late.
    """
    inner = text[1:-1] if text.startswith("{") and text.endswith("}") else text
    if not inner or not inner.isascii() or not all(c.isalnum() or c in "_-" for c in inner):
        # Sendmail has "_" as a macro of one character.
        raise ValueError(f'{text!r} is not the name of a macro; write it as in "{{daemon_name}}"')
    name = inner if len(inner) == 1 else "{" + inner + "}"
    if name.startswith(_TOO_LATE):
        raise ValueError(
            f"{text!r}: the MTA sends this macro after MAIL FROM, when the decision is made;"
            ' use one of connect, HELO or MAIL, such as "{daemon_name}"'
        )
    return name


def is_of_every_client(text: str) -> bool:
    """Return whether MTAs send this macro whoever the client is; False if the text is not a name."""
    try:
        return macro_name(text) in _OF_EVERY_CLIENT
    except ValueError:
        return False


def macro_conditions(written: Mapping[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
    """Return conditions by the macros' names in the protocol.

    Raises:
        ValueError: a name or value is invalid, or two names mean one macro.
    """
    found: dict[str, tuple[str, ...]] = {}
    for text, values in written.items():
        name = macro_name(text)
        if name in found:
            raise ValueError(f"{text!r}: {name} is in this table already; write all values into one list")
        if any(not value or "\0" in value for value in values):
            raise ValueError(f"{text!r}: a value is empty; write [] if the macro may have any value")
        found[name] = values
    return found
