"""An exception of a plugin is described, whatever it does when it is looked at."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from phoenixdkim.exporters.described import MAX_MESSAGE, described


class _Raises:
    """Raises whatever is done with it."""

    def __getattribute__(self, name: str) -> object:
        raise RuntimeError(name)


class _Text(str):
    __slots__ = ()

    def __getitem__(self, key: object) -> str:
        raise RuntimeError("slice")

    def __format__(self, spec: str) -> str:
        raise RuntimeError("format")

    def __len__(self) -> int:
        raise RuntimeError("length")


class _Nameless(type):
    @property
    def __name__(cls) -> str:  # type: ignore[override]
        raise RuntimeError("name")


class TextRaises(BaseException):
    def __str__(self) -> str:
        raise KeyboardInterrupt


class TextIsSubclass(BaseException):
    def __str__(self) -> str:
        return _Text("words")


class NoText(BaseException):
    def __str__(self) -> str:
        return 7  # type: ignore[return-value]


class NoName(Exception, metaclass=_Nameless):
    """Its class does not answer for its name."""


class NoTraceback(Exception):
    __traceback__ = _Raises()  # type: ignore[assignment]


class NoAttributes(BaseException):
    def __getattribute__(self, name: str) -> object:
        raise SystemExit(name)


@pytest.mark.parametrize(
    ("make", "begins"),
    [
        (lambda: ValueError("words"), "ValueError: words"),
        (lambda: ValueError(), "ValueError"),
        (lambda: ValueError("x" * 10_000), "ValueError: " + "x" * MAX_MESSAGE),
        (lambda: TextRaises(), "TextRaises: (its text can't be shown)"),
        (lambda: TextIsSubclass(), "TextIsSubclass: words"),
        (lambda: NoText(), "NoText: (its text can't be shown)"),
        (lambda: NoName("words"), "NoName: words"),
        (lambda: NoTraceback("words"), "NoTraceback"),
        (lambda: NoAttributes("words"), "NoAttributes"),
    ],
)
def test_each_is_described(make: Callable[[], BaseException], begins: str) -> None:
    found = described(make())
    assert type(found) is str
    assert found.startswith(begins)
    assert len(found) < 2 * MAX_MESSAGE
