"""Open key files without following anything unchecked.

A path is resolved here, component by component, each relative to the open directory that holds it. So what is checked
is what is read, whatever is renamed meanwhile. Symbolic links are followed: a Kubernetes secret is
``key.pem -> ..data/key.pem`` with ``..data -> ..2026_11_27_10_00_00.1/``.
"""

from __future__ import annotations

import errno
import os
import pwd
import shlex
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Self

from phoenixdkim.keystore.faults import KeyFault, KeyStoreError

MAX_OCTETS: Final = 65536
_MAX_LINKS: Final = 40
"""Links on one way, as in Linux (path_resolution(7))."""
_ATTEMPTS: Final = 5
_COMPONENT: Final = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
_REGULAR: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
_KINDS: Final[Mapping[int, str]] = {
    stat.S_IFDIR: "a directory",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFCHR: "a character device",
    stat.S_IFBLK: "a block device",
    stat.S_IFSOCK: "a socket",
}


@dataclass(frozen=True, slots=True)
class KeyFile:
    """A key file as it was read.

    Attributes:
        path: as configured.
        data: its content.
        faults: who else can read or replace it; at most one each for the file and the way to it.
        directories: every directory passed, by its path without links, as it was when the file was read.
    """

    path: str
    data: bytes = field(repr=False)
    faults: tuple[KeyFault, ...]
    directories: Mapping[str, os.stat_result] = field(repr=False)


class _Replaced(Exception):
    """The file was replaced between the check and the opening."""


@dataclass(frozen=True, slots=True)
class _Directory:
    """An open directory.

    Attributes:
        descriptor: opened with O_PATH.
        path: without links.
        status: when it was opened.
        fault: the first error of the directories from the root to this one, itself not included.
    """

    descriptor: int
    path: str
    status: os.stat_result
    fault: KeyFault | None

    def entry(self, name: str) -> str:
        """Return the path of what is in it."""
        return f"/{name}" if self.path == "/" else f"{self.path}/{name}"


class KeyFiles:
    """Reads key files; directories that they share are opened and checked once."""

    def __init__(self, owners: frozenset[int]) -> None:
        """Read nothing yet.

        Args:
            owners: user ids that may own files and what leads to them; root always may.
        """
        self._owners = owners
        self._chain: list[_Directory] = []
        """The directories from the root to that of the last file."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close all directories."""
        while self._chain:
            os.close(self._chain.pop().descriptor)

    def read(self, path: str) -> KeyFile:
        """Read a key file and check who can read or replace it.

        Args:
            path: absolute path; symbolic links are followed.

        Raises:
            KeyStoreError: the file cannot be read, or is not a regular file of a key's size.
        """
        if not path.startswith("/") or "\0" in path:
            raise KeyStoreError(path.replace("\0", "?"), "not an absolute path; write the full path of the key file")
        for _ in range(_ATTEMPTS):
            try:
                return _Way(path, self._owners, self._chain).read()
            except _Replaced:
                self.close()
        raise KeyStoreError(path, "the file is replaced again and again while it is opened; try again")


class _Way:
    """The way from the root directory to one key file.

    ``chain`` has the open directories from the root to the current one. None of their paths has a link in it, so those
    that the next path begins with serve it too.
    """

    def __init__(self, path: str, owners: frozenset[int], chain: list[_Directory]) -> None:
        self._path = path
        self._owners = owners
        self._chain = chain
        self._directories: dict[str, os.stat_result] = {}
        self._fault: KeyFault | None = None
        self._link = ""
        """The last link followed, with its target, for messages."""

    def read(self) -> KeyFile:
        pending = self._start()
        links = 0
        while pending:
            part = pending.pop()
            if part == "..":
                if len(self._chain) > 1:
                    os.close(self._chain.pop().descriptor)
                continue
            entry = self._chain[-1].entry(part)
            descriptor = self._look_up(part, entry)
            try:
                status = os.fstat(descriptor)
                fault = self._replaceable(entry, status)
                self._fault = self._fault or fault
                if stat.S_ISLNK(status.st_mode):
                    links += 1
                    target = os.readlink("", dir_fd=descriptor)
                    self._link = f"{entry} -> {target}"
                    if links > _MAX_LINKS:
                        raise KeyStoreError(
                            self._path,
                            f"more than {_MAX_LINKS} symbolic links, the last is {self._link}; is it a loop?",
                        )
                    if target.startswith("/"):
                        self._shorten(1)
                    pending.extend(_components(target))
                elif stat.S_ISDIR(status.st_mode) and pending:
                    # Not the fault of the way: a link that led here is not part of this directory's path.
                    self._enter(_Directory(descriptor, entry, status, self._chain[-1].fault or fault))
                    descriptor = -1
                elif pending:
                    raise KeyStoreError(self._path, f"{entry} is not a directory{self._reached()}")
                else:
                    return self._read_file(part, entry, status)
            finally:
                if descriptor >= 0:
                    os.close(descriptor)
        raise KeyStoreError(self._path, f"is a directory{self._reached()}; name a regular file")

    def _start(self) -> list[str]:
        """Keep the directories that this path begins with; returns the other components, the first one last."""
        pending = _components(self._path)
        kept = 1
        while (
            kept < len(self._chain)
            and len(pending) > 1
            and self._chain[kept - 1].entry(pending[-1]) == self._chain[kept].path
        ):
            pending.pop()
            kept += 1
        self._shorten(kept)
        if not self._chain:
            root = os.open("/", _COMPONENT | os.O_DIRECTORY)
            self._chain.append(_Directory(root, "/", os.fstat(root), None))
        self._directories.update((directory.path, directory.status) for directory in self._chain)
        self._fault = self._chain[-1].fault
        return pending

    def _enter(self, directory: _Directory) -> None:
        self._chain.append(directory)
        self._directories[directory.path] = directory.status

    def _shorten(self, length: int) -> None:
        while len(self._chain) > length:
            os.close(self._chain.pop().descriptor)

    def _reached(self) -> str:
        return f" (reached by the link {self._link})" if self._link else ""

    def _look_up(self, part: str, entry: str) -> int:
        try:
            return os.open(part, _COMPONENT, dir_fd=self._chain[-1].descriptor)
        except FileNotFoundError as error:
            if self._link:
                message = f"dangling symbolic link {self._link}: {entry} does not exist; correct the link"
            elif entry == self._path:
                message = "there is no such file; make a key or correct the path"
            else:
                message = f"there is no such file ({entry} does not exist); make a key or correct the path"
            raise KeyStoreError(self._path, message) from error
        except PermissionError as error:
            directory = self._chain[-1].path
            message = f"user id {os.geteuid()} may not search the directory {directory}; change its group or mode"
            raise KeyStoreError(self._path, message) from error
        except OSError as error:
            raise KeyStoreError(self._path, f"{entry}: {error.strerror}") from error

    def _read_file(self, part: str, entry: str, status: os.stat_result) -> KeyFile:
        kind = stat.S_IFMT(status.st_mode)
        if kind != stat.S_IFREG:
            # Never opened: to open a device or a pipe can have effects.
            message = f"is {_KINDS.get(kind, 'a special file')}{self._reached()}; name a regular file"
            raise KeyStoreError(self._path, message)
        try:
            descriptor = os.open(part, _REGULAR, dir_fd=self._chain[-1].descriptor)
        except PermissionError as error:
            message = f"user id {os.geteuid()} may not read it{self._reached()}"
            raise KeyStoreError(self._path, message) from error
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ELOOP, errno.ENXIO, errno.ENODEV):
                raise _Replaced from error
            raise KeyStoreError(self._path, f"opening it failed: {error.strerror}") from error
        try:
            found = os.fstat(descriptor)
            if (found.st_dev, found.st_ino) != (status.st_dev, status.st_ino):
                raise _Replaced
            if found.st_size > MAX_OCTETS:
                raise KeyStoreError(self._path, f"has {found.st_size} octets; a key file has at most {MAX_OCTETS}")
            data = _read(descriptor)
        except OSError as error:
            raise KeyStoreError(self._path, f"reading it failed: {error.strerror}") from error
        finally:
            os.close(descriptor)
        if not data.strip():
            raise KeyStoreError(self._path, "the file is empty")
        faults = [fault for fault in (self._exposed(entry, found), self._fault) if fault is not None]
        return KeyFile(self._path, data, tuple(faults), self._directories)

    def _trusts(self, uid: int) -> bool:
        return uid == 0 or uid in self._owners

    def _exposed(self, path: str, status: os.stat_result) -> KeyFault | None:
        """The error of the file itself: its owner or mode."""
        mode = stat.S_IMODE(status.st_mode)
        if not self._trusts(status.st_uid):
            owner = _user(status.st_uid)
            return KeyFault(path, f"belongs to {owner}, who can replace it; run: chown root {shlex.quote(path)}")
        # A group may read it (root's group often must), but not write it; others may do neither.
        if mode & 0o027:
            return KeyFault(
                path, f"its mode {mode:04o} lets others read or write it; run: chmod 0640 {shlex.quote(path)}"
            )
        return None

    def _replaceable(self, path: str, status: os.stat_result) -> KeyFault | None:
        """The error of the current directory: others can replace ``path``, which lies in it."""
        directory, found = self._chain[-1].path, self._chain[-1].status
        mode = stat.S_IMODE(found.st_mode)
        if not self._trusts(found.st_uid):
            return KeyFault(
                directory,
                f"the directory belongs to {_user(found.st_uid)}, who can replace what is in it;"
                f" run: chown root {shlex.quote(directory)}",
            )
        if not mode & 0o022:
            return None
        if not mode & stat.S_ISVTX:
            return KeyFault(
                directory,
                f"the directory's mode {mode:04o} lets others replace what is in it;"
                f" run: chmod go-w {shlex.quote(directory)}",
            )
        # In a sticky directory only the owner of an entry can rename or remove it.
        if not self._trusts(status.st_uid):
            what = "the symbolic link" if stat.S_ISLNK(status.st_mode) else "it"
            return KeyFault(
                path,
                f"{what} belongs to {_user(status.st_uid)}, who can replace it in {directory} (mode {mode:04o});"
                f" run: chown -h root {shlex.quote(path)}",
            )
        return None


def _components(path: str) -> list[str]:
    """The components of a path, the first one last."""
    return [part for part in reversed(path.split("/")) if part not in ("", ".")]


def _read(descriptor: int) -> bytes:
    data = b""
    while len(data) <= MAX_OCTETS and (chunk := os.read(descriptor, MAX_OCTETS + 1)):
        data += chunk
    return data


def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user id {uid}"
