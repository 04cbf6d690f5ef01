"""Identities of files: whether a file is still the one that was read, without reading it."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Final

Identity = tuple[int, ...]
_NONE: Final[Identity] = ()
"""Of a file that does not exist, or cannot be looked at."""


class Identities:
    """What files and directories were at one time.

    A file is the same as long as device, inode, size, mtime and ctime are; links in its path are followed. Of a
    directory device, inode, mode and owner count: they decide who can replace what is in it.
    """

    def __init__(self) -> None:
        self._files: dict[str, Identity] = {}
        self._directories: dict[str, Identity] = {}

    def add_file(self, path: str) -> None:
        """Note what a file is now."""
        self._files[path] = _identity(path, _of_file)

    def add_directories(self, found: Mapping[str, os.stat_result]) -> None:
        """Note what directories were."""
        for path, status in found.items():
            self._directories.setdefault(path, _of_directory(status))

    def encode(self) -> bytes:
        """Return the identities as octets for ``unchanged``."""
        return json.dumps([self._files, self._directories], separators=(",", ":")).encode()


def unchanged(encoded: bytes) -> bool:
    """Whether all files and directories are what they were; False when ``encoded`` is not from ``Identities``."""
    try:
        groups = json.loads(encoded)
    except (ValueError, RecursionError):
        return False
    if not isinstance(groups, list) or len(groups) != 2:
        return False
    files, directories = groups
    return _all_same(files, _of_file) and _all_same(directories, _of_directory)


def _all_same(group: object, of: Callable[[os.stat_result], Identity]) -> bool:
    if not isinstance(group, dict):
        return False
    return all(isinstance(found, Sequence) and _identity(path, of) == tuple(found) for path, found in group.items())


def _identity(path: str, of: Callable[[os.stat_result], Identity]) -> Identity:
    try:
        return of(os.stat(path))
    except (OSError, ValueError):
        return _NONE


def _of_file(status: os.stat_result) -> Identity:
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def _of_directory(status: os.stat_result) -> Identity:
    return status.st_dev, status.st_ino, status.st_mode, status.st_uid
