"""The hooks that an exporter implements, all of them.

An exporter is a class (or module) named by an entry point of group ``phoenixdkim.exporters``. Its class has
``api_version = 1`` and marks its hooks with ``hookimpl``. It runs in a process of its own; the hooks are called
from that process's main thread, one at a time. An implementation may leave out arguments it does not use.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Any, Protocol

import pluggy

from phoenixdkim.events import API_VERSION, Event
from phoenixdkim.metrics import MetricSpec, Snapshot
from phoenixdkim.options import Options

PROJECT = "phoenixdkim"
ENTRY_POINT_GROUP = "phoenixdkim.exporters"

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)

__all__ = ["API_VERSION", "ENTRY_POINT_GROUP", "Context", "HookSpecs", "hookimpl"]


class Context(Protocol):
    """What an exporter is given at its start."""

    @property
    def name(self) -> str:
        """Name of this exporter: the table's name in ``[exporters.NAME]``."""

    @property
    def options(self) -> Any:
        """The checked options, an instance of the class that ``phoenixdkim_options`` returned."""

    @property
    def log(self) -> logging.Logger:
        """A logger whose lines appear in the daemon's log with the exporter's name; repeated lines are limited."""

    def snapshot(self) -> Snapshot:
        """All metrics now, the plugins' own included. May be called from any thread."""

    def add(self, metric: MetricSpec, labels: Mapping[str, Enum] | None = None, amount: int = 1) -> None:
        """Add to one of the plugin's own counters. May be called from any thread.

        Raises:
            ValueError: the metric was not declared, a label is missing or no member of its enum, or amount < 0.
        """

    def set(self, metric: MetricSpec, value: float, labels: Mapping[str, Enum] | None = None) -> None:
        """Set one of the plugin's own gauges. May be called from any thread.

        Raises:
            ValueError: the metric was not declared, or a label is missing or no member of its enum.
        """

    def delivered(self, events: int) -> None:
        """Say that the first ``events`` calls of ``phoenixdkim_event`` of this tick have left the process.

        What is not delivered when the process is killed counts as lost. Without this call a tick is delivered as
        a whole when ``phoenixdkim_tick`` returns.
        """

    def lost(self, count: int) -> None:
        """Say that ``count`` events could not be delivered and will not be; they appear in exporter_lost_total."""


class HookSpecs:
    """The hook specification, API version 1."""

    @hookspec(firstresult=True)
    def phoenixdkim_options(self) -> type[Options]:
        """Return the class of the options in the plugin's TOML table. Called once, when the table is checked."""
        raise NotImplementedError

    @hookspec(firstresult=True)
    def phoenixdkim_metrics(self) -> Sequence[MetricSpec]:
        """Return the plugin's own counters and gauges, names starting with ``phoenixdkim_exporter_``."""
        raise NotImplementedError

    @hookspec
    def phoenixdkim_start(self, context: Context) -> None:
        """Start. Called once, before all but the two hooks above; a failure is logged and start is tried again."""

    @hookspec
    def phoenixdkim_event(self, event: Event, count: int, samples: Sequence[float]) -> None:
        """Take an event that happened ``count`` times since the last tick.

        ``samples`` are measured seconds of these events, at most ``count`` of them, and none unless the options
        class sets ``wants_samples``.
        """

    @hookspec
    def phoenixdkim_tick(self, now: float) -> None:
        """Do what is done at each interval, after the events. ``now`` is Unix time in seconds."""

    @hookspec
    def phoenixdkim_stop(self, deadline: float) -> None:
        """Stop, after a last round of events and tick. ``deadline`` is the ``time.monotonic()`` to be done by."""
