"""Find the line of each key in a TOML text.

tomllib tells no positions. This scanner walks over a text that tomllib has accepted already, so it need not check
anything: it only has to step over strings, comments and brackets correctly.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from typing import Final

Path = tuple[str | int, ...]

_BLANK: Final = " \t"
_SPACE: Final = " \t\r\n"
_BASIC: Final = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"')
_LITERAL: Final = re.compile("'[^']*'")


def locate(text: str) -> dict[Path, int]:
    """Lines, counted from 1, of all keys, tables and array elements of a valid TOML text."""
    return _Scanner(text).run()


def line_of(lines: Mapping[Path, int], path: Path) -> int:
    """The line of ``path``, or of the nearest table around it; 1 when there is none."""
    for end in range(len(path), 0, -1):
        if path[:end] in lines:
            return lines[path[:end]]
    return 1


class _Scanner:
    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._line = 1
        self._lines: dict[Path, int] = {}
        self._arrays: dict[Path, int] = {}

    def run(self) -> dict[Path, int]:
        table: Path = ()
        while True:
            self._skip(_SPACE)
            if self._at >= len(self._text):
                return self._lines
            if self._text[self._at] == "[":
                table = self._header()
            else:
                self._pair(table)

    def _step(self, count: int) -> str:
        taken = self._text[self._at : self._at + count]
        self._line += taken.count("\n")
        self._at += count
        return taken

    def _skip(self, characters: str) -> None:
        """Step over these characters, and over comments."""
        while self._at < len(self._text):
            character = self._text[self._at]
            if character == "#":
                end = self._text.find("\n", self._at)
                self._at = len(self._text) if end < 0 else end
            elif character in characters:
                self._step(1)
            else:
                return

    def _note(self, path: Path, line: int) -> None:
        self._lines.setdefault(path, line)

    def _header(self) -> Path:
        line = self._line
        double = self._text.startswith("[[", self._at)
        self._step(2 if double else 1)
        keys = self._key("]")
        self._step(2 if double else 1)
        path: Path = ()
        for number, key in enumerate(keys):
            path = (*path, key)
            self._note(path, line)
            last = number == len(keys) - 1
            if last and double:
                self._arrays[path] = self._arrays.get(path, -1) + 1
            if path in self._arrays:
                # A table below an array of tables belongs to the newest element.
                path = (*path, self._arrays[path])
                self._note(path, line)
        # The table itself, even where a deeper one was met before.
        self._lines[path] = line if not double else self._lines[path]
        return path

    def _key(self, end: str) -> list[str]:
        """A dotted key up to ``end``, which is not taken."""
        keys = []
        while True:
            self._skip(_BLANK)
            character = self._text[self._at]
            if character in "\"'":
                start = self._at
                self._string()
                keys.append(str(tomllib.loads("k=" + self._text[start : self._at])["k"]))
            else:
                start = self._at
                while self._text[self._at] not in _SPACE + ".=]":
                    self._at += 1
                keys.append(self._text[start : self._at])
            self._skip(_BLANK)
            if self._text[self._at] == end:
                return keys
            self._step(1)  # the dot

    def _pair(self, table: Path) -> None:
        line = self._line
        path = table
        for key in self._key("="):
            path = (*path, key)
            self._note(path, line)
        self._step(1)
        self._skip(_BLANK)
        self._value(path)

    def _value(self, path: Path) -> None:
        character = self._text[self._at]
        if character in "\"'":
            self._string()
        elif character == "[":
            self._array(path)
        elif character == "{":
            self._inline_table(path)
        else:
            while self._at < len(self._text) and self._text[self._at] not in ",]}#\r\n":
                self._at += 1

    def _string(self) -> None:
        quote = self._text[self._at]
        if self._text.startswith(quote * 3, self._at):
            self._step(3)
            while not self._text.startswith(quote * 3, self._at):
                self._step(2 if quote == '"' and self._text[self._at] == "\\" else 1)
            self._step(3)
            # Up to two more quotes belong to the content, before the closing three.
            while self._at < len(self._text) and self._text[self._at] == quote:
                self._step(1)
            return
        found = (_BASIC if quote == '"' else _LITERAL).match(self._text, self._at)
        assert found is not None, "the text is valid TOML"
        self._at = found.end()

    def _array(self, path: Path) -> None:
        self._step(1)
        number = 0
        while True:
            self._skip(_SPACE + ",")
            if self._text[self._at] == "]":
                self._step(1)
                return
            self._note((*path, number), self._line)
            self._value((*path, number))
            number += 1

    def _inline_table(self, path: Path) -> None:
        self._step(1)
        while True:
            self._skip(_SPACE + ",")
            if self._text[self._at] == "}":
                self._step(1)
                return
            self._pair(path)
