"""Errors of private key files."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Permissions(StrEnum):
    """What to do about a key file that others can read or replace."""

    STRICT = "strict"
    WARN = "warn"
    OFF = "off"


class OnMissingKey(StrEnum):
    """What to do about a key that cannot be used."""

    REFUSE = "refuse"
    TEMPFAIL = "tempfail"


@dataclass(frozen=True, slots=True)
class KeyFault:
    """An error of a key file.

    Attributes:
        path: the file, or the directory or link on the way to it, that has the error.
        message: what is wrong, and the command that corrects it where there is one.
    """

    path: str
    message: str

    def __str__(self) -> str:
        return f"{self.path}: {self.message}"


class KeyStoreError(Exception):
    """A key cannot be used; ``fault`` says why."""

    def __init__(self, path: str, message: str) -> None:
        super().__init__(f"{path}: {message}")
        self.fault = KeyFault(path, message)
