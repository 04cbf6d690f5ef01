"""The hooks that an exporter implements, all of them.

An exporter is a class (or module) named by an entry point of group ``phoenixdkim.exporters``. Its class is called
without arguments, has ``api_version = 1``, and marks its hooks with ``hookimpl``, without options. It implements those
that it needs, and each may leave out arguments that it does not use.

Each table ``[exporters.NAME]`` that names it is a process of its own, with this life:

1. ``phoenixdkim_options`` and ``phoenixdkim_metrics``, when the table is checked. Then the process may end again,
   in ``phoenixdkim check`` after ``phoenixdkim_check``.
2. ``phoenixdkim_start``, and a first tick at once.
3. At each interval ``phoenixdkim_event`` for each kind of event that happened since the last tick, then
   ``phoenixdkim_tick``.
4. A last round of events and tick, then ``phoenixdkim_stop``.

Hooks are called from the process's main thread, one at a time. What one raises is counted, logged once until it
changes, and the next one is called. One that does not return for 10 s has the process killed and replaced. The process
has no access to mail, keys or the milter's socket, gets only time that nothing else wants, and is limited in memory
(option ``memory_limit``) and descriptors (1024).

Stability: see ``phoenixdkim.events``. Within an API version hooks, and arguments of hooks, may be added.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
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

__all__ = ["API_VERSION", "ENTRY_POINT_GROUP", "Context", "Finding", "HookSpecs", "hookimpl"]


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that this host lacks for an exporter.

    Attributes:
        message: what is wrong and what to do, one line of at most 500 characters.
        address: ``host:port`` of a TCP port that is in use; the finding is dropped if the running daemon uses it.
    """

    message: str
    address: str = ""


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
        """A logger whose lines appear in the daemon's log with the exporter's name.

        A line that repeats within a minute is dropped, and so is what comes faster than a line a second after the
        first 20. Log changes of state, not each failure.
        """

    def snapshot(self) -> Snapshot:
        """All metrics now, the plugins' own included. May be called from any thread.

        Within a tick it shows just what the tick's events lead up to, so that an exporter of both agrees with itself.
        """

    def add(self, metric: MetricSpec, labels: Mapping[str, Enum] | None = None, amount: int = 1) -> None:
        """Add to one of the plugin's own counters. May be called from any thread.

        Raises:
            ValueError: the metric was not declared, a label is missing or no member of its enum, or amount < 0.
        """

    def set(self, metric: MetricSpec, value: float, labels: Mapping[str, Enum] | None = None) -> None:
        """Set one of the plugin's own gauges. May be called from any thread.

        Raises:
            ValueError: the metric was not declared, a label is missing or no member of its enum, or the value is no
                finite number.
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
        """Return the class of the options in the plugin's TOML table: a subclass of ``phoenixdkim.options.Options``.

        Called once, when the table is checked. Without it the table has the options of ``Options`` only.
        """
        raise NotImplementedError

    @hookspec(firstresult=True)
    def phoenixdkim_metrics(self) -> Sequence[MetricSpec]:
        """Return the plugin's own counters and gauges, names starting with ``phoenixdkim_exporter_``.

        Called once, when the table is checked; what holds for them is in ``phoenixdkim.metrics``. The same metrics must
        be returned for each table of the plugin: the values of its instances are added.
        """
        raise NotImplementedError

    @hookspec(firstresult=True)
    def phoenixdkim_check(self, options: Any) -> Sequence[Finding]:
        """Return what this host lacks for these options: a directory, a free port, a name that resolves.

        ``options`` are the checked options, as in ``Context``. Called only by ``phoenixdkim check``, as the exporter's
        user, after the table was checked; then the process ends. Change nothing. There are 5 s; at most 20 findings are
        shown. Each is a warning: the daemon starts.
        """
        raise NotImplementedError

    @hookspec
    def phoenixdkim_start(self, context: Context) -> None:
        """Start. Called once, before all but the two hooks above.

        When it raises it is called again at each interval, and no other hook before it has returned. Open here what
        has to be open; but what the world may lack - a directory, a port, a name - is better looked for in
        ``phoenixdkim_tick``, and told with ``context.log`` when it is missing.
        """

    @hookspec
    def phoenixdkim_event(self, event: Event, count: int, samples: Sequence[float]) -> None:
        """Take an event that happened ``count`` times since the last tick; ``count`` is at least 1.

        ``samples`` are measured seconds of these events, at most ``count`` of them, and none unless the options
        class sets ``wants_samples``. When it raises, the ``count`` events are counted as lost. An exporter that shows
        states leaves this hook out: then nothing can be lost.
        """

    @hookspec
    def phoenixdkim_tick(self, now: float) -> None:
        """Do what is done at each interval, after the events. ``now`` is Unix time in seconds.

        When it returns, the events of this tick count as delivered, but for those given to ``context.lost``.
        """

    @hookspec
    def phoenixdkim_stop(self, deadline: float) -> None:
        """Stop, after a last round of events and tick. ``deadline`` is the ``time.monotonic()`` to be done by.

        A process that has not ended by then (option ``stop_timeout``) is killed. Threads need not be ended.
        """
