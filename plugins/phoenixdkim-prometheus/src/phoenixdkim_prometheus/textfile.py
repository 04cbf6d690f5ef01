"""Exporter ``textfile``: a file for node_exporter's textfile collector.

The file is replaced as a whole: a reader sees the old one or the new one. What is written goes to a new file in the
same directory, whose name node_exporter does not read, reaches the disk, and is then renamed.
"""

from __future__ import annotations

import os
import re
import secrets
import stat
from typing import Annotated, Final

from pydantic import AfterValidator, Field

from phoenixdkim.hookspecs import Context, Finding, hookimpl
from phoenixdkim.metrics import Kind, MetricSpec
from phoenixdkim.options import AbsolutePath, Options
from phoenixdkim_prometheus.families import Exposition

FAILURES: Final = MetricSpec(
    "phoenixdkim_exporter_textfile_failures_total",
    Kind.COUNTER,
    "Times that the textfile could not be written.",
)
LAST_WRITE: Final = MetricSpec(
    "phoenixdkim_exporter_textfile_last_write_timestamp_seconds",
    Kind.GAUGE,
    "When the textfile was last written, as a Unix time.",
    unit="seconds",
)


def _prom_path(path: str) -> str:
    if not path.endswith(".prom"):
        raise ValueError(f"{path!r}: node_exporter reads files whose names end in .prom; write for example {path}.prom")
    return path


class TextfileOptions(Options):
    """Table of the textfile exporter."""

    path: Annotated[AbsolutePath, AfterValidator(_prom_path)]
    """The file, in the directory that node_exporter's --collector.textfile.directory names; it ends in .prom."""
    interval: float = Field(default=15.0, ge=0.1, le=3600)
    """Seconds between two writes."""


class TextfileExporter:
    """Writes the exposition to a file at each tick."""

    api_version = 1

    def __init__(self) -> None:
        self._context: Context | None = None
        self._exposition: Exposition | None = None
        self._path = ""
        self._failing = ""
        self._written = 0.0

    @hookimpl
    def phoenixdkim_options(self) -> type[Options]:
        """The options' class."""
        return TextfileOptions

    @hookimpl
    def phoenixdkim_metrics(self) -> list[MetricSpec]:
        """The exporter's own metrics."""
        return [FAILURES, LAST_WRITE]

    @hookimpl
    def phoenixdkim_check(self, options: TextfileOptions) -> list[Finding]:
        """Look at the directory and the file, and write nothing."""
        directory = os.path.dirname(options.path) or "/"
        user = f"user id {os.geteuid()}"
        try:
            if not stat.S_ISDIR(os.stat(directory).st_mode):
                return [Finding(f"{directory} is not a directory; node_exporter reads files from a directory")]
            if os.statvfs(directory).f_flag & os.ST_RDONLY:
                return [Finding(f"{directory} is on a file system that is mounted read-only")]
            if not os.access(directory, os.W_OK | os.X_OK, effective_ids=True):
                return [Finding(f"{directory} is not writable for {user}, which this exporter runs as")]
            if os.path.isdir(options.path):
                return [Finding(f"{options.path} is a directory; write the path of a file")]
        except OSError as error:
            return [Finding(f"{directory}: {error.strerror}; it must exist and be writable for {user}")]
        return []

    @hookimpl
    def phoenixdkim_start(self, context: Context) -> None:
        """Remove what a killed predecessor left. The first tick follows at once."""
        self._context = context
        self._path = context.options.path
        self._exposition = Exposition(context.snapshot)
        # A predecessor in this exporter's place may have written.
        self._written = context.snapshot().value(LAST_WRITE.name)
        self._remove_leftovers()

    @hookimpl
    def phoenixdkim_tick(self, now: float) -> None:
        """Write the file; a failure is logged once until it changes, and counted."""
        context, exposition = self._context, self._exposition
        assert context is not None and exposition is not None
        # Set before it is shown: the file tells of its own writing. A failure puts the last one back.
        before = self._written
        context.set(LAST_WRITE, now)
        try:
            self._write(exposition.text())
        except OSError as error:
            context.set(LAST_WRITE, before)
            context.add(FAILURES)
            reason = _reason(error)
            if reason != self._failing:
                self._failing = reason
                context.log.error("%s can't be written: %s", self._path, reason)
            return
        self._written = now
        if self._failing:
            self._failing = ""
            context.log.info("%s is written again", self._path)

    @property
    def _directory(self) -> str:
        return os.path.dirname(self._path) or "/"

    def _write(self, data: bytes) -> None:
        name = f".{os.path.basename(self._path)}.{secrets.token_hex(8)}.tmp"
        # All steps by this descriptor: what is done is done in one directory, whatever its name comes to mean.
        directory = os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            fd = os.open(name, flags, 0o600, dir_fd=directory)
            try:
                try:
                    left = memoryview(data)
                    while left:
                        left = left[os.write(fd, left) :]
                    # Whatever the umask: node_exporter is another user.
                    os.fchmod(fd, 0o644)
                    os.fsync(fd)
                finally:
                    os.close(fd)
                os.replace(name, os.path.basename(self._path), src_dir_fd=directory, dst_dir_fd=directory)
            except BaseException:  # whatever it is goes on; no half file may stay
                _unlink(name, directory)
                raise
        finally:
            os.close(directory)

    def _remove_leftovers(self) -> None:
        assert self._context is not None
        ours = re.compile(re.escape(f".{os.path.basename(self._path)}.") + r"[0-9a-f]{16}\.tmp")
        try:
            with os.scandir(self._directory) as entries:
                found = [entry.name for entry in entries if ours.fullmatch(entry.name)]
            directory = os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            # The first write will say what is wrong with the directory; here it is only about tidiness.
            self._context.log.warning("%s can't be tidied: %s", self._directory, error.strerror)
            return
        try:
            for name in found:
                if _is_own_file(name, directory):
                    _unlink(name, directory)
        finally:
            os.close(directory)

    @hookimpl
    def phoenixdkim_stop(self) -> None:
        """The last tick has written the last file: nothing is left to do but to say so when it failed."""
        if self._failing and self._context is not None:
            self._context.log.error("%s is not what it should be at stop: %s", self._path, self._failing)


def _reason(error: OSError) -> str:
    reason = error.strerror or str(error)
    if isinstance(error, PermissionError):
        return f"{reason}; user id {os.geteuid()} must be able to write in its directory"
    return reason


def _unlink(name: str, directory: int) -> None:
    try:
        os.unlink(name, dir_fd=directory)
    except OSError:
        # Gone, or the directory can't be written any more: node_exporter does not read this name.
        return


def _is_own_file(name: str, directory: int) -> bool:
    try:
        found = os.stat(name, dir_fd=directory, follow_symlinks=False)
    except OSError:
        return False
    return stat.S_ISREG(found.st_mode) and found.st_uid == os.geteuid()
