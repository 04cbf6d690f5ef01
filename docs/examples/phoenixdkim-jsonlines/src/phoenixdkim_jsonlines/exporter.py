"""Exporter ``jsonlines``: events to a file, one JSON object for each kind of event and tick.

The file is only ever appended to. It may be renamed or removed at any time, as logrotate does: the next tick makes a
new one. What can't be written is counted as lost.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Sequence
from typing import Final

from pydantic import Field

from phoenixdkim.events import Event
from phoenixdkim.hookspecs import Context, hookimpl
from phoenixdkim.metrics import Kind, MetricSpec
from phoenixdkim.options import AbsolutePath, Options

LINES: Final = MetricSpec("phoenixdkim_exporter_jsonlines_lines_total", Kind.COUNTER, "Lines written.")


class JsonLinesOptions(Options):
    """Table of the JSON lines exporter."""

    path: AbsolutePath
    """The file; its directory exists, and the exporter's user can write to it."""
    interval: float = Field(default=10.0, ge=0.1, le=3600)
    """Seconds between two writes."""


class JsonLinesExporter:
    """Appends what happened at each tick."""

    api_version = 1

    def __init__(self) -> None:
        self._context: Context | None = None
        self._fd = -1
        self._lines: list[tuple[dict[str, object], int]] = []
        self._failing = ""

    @hookimpl
    def phoenixdkim_options(self) -> type[Options]:
        """The options' class."""
        return JsonLinesOptions

    @hookimpl
    def phoenixdkim_metrics(self) -> list[MetricSpec]:
        """The exporter's own metrics."""
        return [LINES]

    @hookimpl
    def phoenixdkim_start(self, context: Context) -> None:
        """Remember the context; the file is opened when there is something to write."""
        self._context = context

    @hookimpl
    def phoenixdkim_event(self, event: Event, count: int, samples: Sequence[float]) -> None:
        """Keep an event for the tick, which knows the time."""
        self._lines.append(({"event": type(event).__name__, "count": count, "labels": event.labels()}, count))

    @hookimpl
    def phoenixdkim_tick(self, now: float) -> None:
        """Write the lines of this tick."""
        context = self._context
        assert context is not None
        lines, self._lines = self._lines, []
        if not lines:
            return
        encoded = [json.dumps({"time": round(now, 3), **line}).encode() + b"\n" for line, _ in lines]
        written, reason = self._append(context.options.path, b"".join(encoded))
        self._tell(reason)
        complete = 0
        for line in encoded:
            written -= len(line)
            if written < 0:
                break
            complete += 1
        context.delivered(complete)
        context.add(LINES, amount=complete)
        if lost := sum(count for _, count in lines[complete:]):
            context.lost(lost)

    @hookimpl
    def phoenixdkim_stop(self) -> None:
        """Close the file; the last tick has written the last lines."""
        self._close()

    def _open(self, path: str) -> None:
        """Have the file of this name open, whatever was done to the one that was."""
        if self._fd >= 0:
            try:
                now, ours = os.stat(path), os.fstat(self._fd)
                if (now.st_dev, now.st_ino) == (ours.st_dev, ours.st_ino):
                    return
            except FileNotFoundError:
                # Rotated away; a new one is made below.
                pass
            self._close()
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
        fd = os.open(path, flags, 0o640)
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode):
            os.close(fd)
            raise OSError(0, "it is no regular file")
        self._fd = fd

    def _append(self, path: str, data: bytes) -> tuple[int, str]:
        """Append; returns how many octets of ``data`` are in the file, and why not all of them."""
        done = 0
        try:
            self._open(path)
            size = os.fstat(self._fd).st_size
            # A line that was cut off, by a full disk or a kill, must not spoil the next one.
            if size and os.pread(self._fd, 1, size - 1) != b"\n":
                os.write(self._fd, b"\n")
            while done < len(data):
                done += os.write(self._fd, data[done:])
        except OSError as error:
            return done, error.strerror or str(error)
        return done, ""

    def _tell(self, reason: str) -> None:
        assert self._context is not None
        if reason == self._failing:
            return
        path = self._context.options.path
        if reason:
            self._context.log.error("%s can't be written: %s; what can't be written is counted as lost", path, reason)
        else:
            self._context.log.info("%s is written again", path)
        self._failing = reason

    def _close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
