"""The catalogue: every metric, its labels, the event that it counts, and its dotted name.

Exporters read names, kinds, labels and help texts here, so that all of them show the same. One that shows states
takes them from ``Context.snapshot()``: a ``Snapshot`` has a ``Family`` for each metric, and a family a ``Sample`` or
``HistogramSample`` for each series, those that are zero included.

A plugin declares metrics of its own with ``MetricSpec`` too, returned by its hook ``phoenixdkim_metrics``. What holds
for them: the name starts with ``phoenixdkim_exporter_`` and ends in ``_total`` for a counter and only for one; kind is
counter or gauge; help is one line; each label is an enum of at most 64 members; all series of one metric are at most
200, of a plugin at most 400; labels such as ``domain``, ``selector`` or ``le`` are reserved. They are checked and
frozen when the hook returns them, are there at zero from the start, and every exporter shows them.

Stability: within one ``events.API_VERSION`` a metric keeps its name, kind, labels and dotted name; metrics, and
members of a label's enum, may be added.
"""

from __future__ import annotations

import math
import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum, StrEnum
from typing import Final

from phoenixdkim import events
from phoenixdkim.events import Event

PREFIX: Final = "phoenixdkim_"
PLUGIN_PREFIX: Final = "phoenixdkim_exporter_"
RESERVED_LABELS: Final = frozenset(
    {"le", "quantile", "domain", "selector", "queue_id", "jobid", "instance", "job", "exporter", "version"}
)
"""Labels that a plugin's metric can't have: what systems set themselves, what is the core's, what comes from mail."""


class Kind(StrEnum):
    """What a metric is."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


class Constant(StrEnum):
    """A label whose value is fixed for the life of the process. Only the core's own metrics have such."""

    VERSION = "version"
    EXPORTER = "exporter"


@dataclass(frozen=True, slots=True)
class MetricSpec:
    """One metric.

    Attributes:
        name: the Prometheus name, unit and ``_total`` included.
        kind: counter, gauge or histogram.
        help: one sentence for the exposition and the manual.
        labels: label names and their enums; a ``Constant`` only in the core's own.
        dotted: the name without prefix for dotted systems, ``{label}`` standing for a value. Plugins may leave
            it empty: it then follows from the name.
        event: the event that is counted or measured; None for gauges and for a plugin's own.
        unit: ``seconds`` or empty.
        detail: when it is counted and by whom, for the manual.
    """

    name: str
    kind: Kind
    help: str
    labels: Mapping[str, type[Enum] | Constant] = field(default_factory=dict)
    dotted: str = ""
    event: type[Event] | None = None
    unit: str = ""
    detail: str = ""

    @property
    def buckets(self) -> tuple[float, ...]:
        """Upper bounds of a histogram's buckets in seconds, without +Inf; empty for other kinds."""
        if self.kind is not Kind.HISTOGRAM or self.event is None or self.event.measure is None:
            return ()
        return self.event.measure.buckets

    def series(self) -> int:
        """How many label combinations exist; a constant counts as one."""
        return math.prod(len(kind.__members__) for kind in self.labels.values() if not isinstance(kind, Constant))

    def dotted_name(self, labels: Mapping[str, str]) -> str:
        """The dotted name of one series, without prefix."""
        if self.dotted:
            return self.dotted.format_map(labels)
        base = self.name.removeprefix(PREFIX).removesuffix("_total")
        return ".".join([base, *(labels[name].replace(".", "_") for name in self.labels)])


def _counter(name: str, event: type[Event], help_: str, labels: Sequence[str], dotted: str, detail: str) -> MetricSpec:
    enums = event.label_enums()
    chosen: dict[str, type[Enum] | Constant] = {label: enums[label] for label in labels}
    return MetricSpec(PREFIX + name, Kind.COUNTER, help_, chosen, dotted, event, "", detail)


def _gauge(
    name: str, help_: str, dotted: str, detail: str, labels: Mapping[str, Constant] | None = None, unit: str = ""
) -> MetricSpec:
    return MetricSpec(PREFIX + name, Kind.GAUGE, help_, dict(labels or {}), dotted, None, unit, detail)


BUILD_INFO: Final = _gauge(
    "build_info",
    "Build information; the value is always 1.",
    "",
    "Set by the supervisor at start. StatsD does not carry it.",
    {"version": Constant.VERSION},
)
SESSIONS: Final = _gauge(
    "sessions",
    "Milter sessions that are open now.",
    "sessions",
    "Kept by each worker: up when a connection has been negotiated, down when it is closed. A dead worker's are"
    " dropped.",
)
RELOAD_SUCCESS: Final = _gauge(
    "config_last_reload_success",
    "Whether the last start or reload took the configuration: 1 yes, 0 no.",
    "config.last_reload_success",
    "Set by the supervisor after each start and reload.",
)
RELOAD_TIMESTAMP: Final = _gauge(
    "config_last_reload_timestamp_seconds",
    "When the configuration in force was taken, as a Unix time.",
    "config.last_reload_timestamp",
    "Set by the supervisor after each start and reload that succeeded.",
    unit="seconds",
)
EXPORTER_UP: Final = _gauge(
    "exporter_up",
    "Whether an enabled exporter is running: 1 yes, 0 no.",
    "exporter.up.{exporter}",
    "Set by the supervisor for each enabled exporter: 1 when it said that it is ready, 0 when its process ended.",
    {"exporter": Constant.EXPORTER},
)
EXPORTER_FAILURES: Final = MetricSpec(
    PREFIX + "exporter_failures_total",
    Kind.COUNTER,
    "Hook calls of an exporter that failed, and exporter processes that ended unasked.",
    {"exporter": Constant.EXPORTER},
    "exporter.failures.{exporter}",
    None,
    "",
    "Counted by the exporter's process for each hook that raises and by the supervisor for each unasked end.",
)
EXPORTER_LOST: Final = MetricSpec(
    PREFIX + "exporter_lost_total",
    Kind.COUNTER,
    "Events that an exporter took and could not deliver.",
    {"exporter": Constant.EXPORTER},
    "exporter.lost.{exporter}",
    None,
    "",
    "Counted by the exporter where it can tell, and by its successor for what a kill left undelivered.",
)

CATALOGUE: Final[tuple[MetricSpec, ...]] = (
    BUILD_INFO,
    _counter(
        "messages_total",
        events.MessageProcessed,
        "Messages that reached their end.",
        (),
        "messages",
        "Once a message, at its end, by the worker, whatever was done with it, put off or failed inside included."
        " A message that the client or the MTA gave up before its end is not counted.",
    ),
    _counter(
        "signatures_total",
        events.MessageSigned,
        "Signatures made, by result and algorithm.",
        ("result", "algorithm"),
        "signatures.{result}.{algorithm}",
        "Once for each key that should sign, at the end of the message, by the worker: a message signed with two keys"
        " counts twice. `error` is a key that failed; the log has the reason.",
    ),
    _counter(
        "verifications_total",
        events.MessageVerified,
        "Messages verified, by the result of the determinative signature.",
        ("result",),
        "verifications.{result}",
        "Once for each message that was verified, by the worker. The first signature that passes decides; without one"
        " it is the first of `temperror`, `fail`, `policy`, `permerror`, `neutral`, in this order. `none` is a message"
        " without signature.",
    ),
    _counter(
        "signature_verifications_total",
        events.SignatureVerified,
        "Signatures evaluated, by result and algorithm.",
        ("result", "algorithm"),
        "signature_verifications.{result}.{algorithm}",
        "Once for each DKIM-Signature of a verified message, by the worker. `other` is an algorithm that is not known;"
        " rsa-sha1 is counted and refused (RFC 8301).",
    ),
    _counter(
        "unsigned_messages_total",
        events.MessageUnsigned,
        "Messages that were not signed, by reason.",
        ("reason",),
        "unsigned.{reason}",
        "Once for each message without a signature of ours, by the worker, whether it was verified or passed on."
        " reference/reasons.md explains the reasons.",
    ),
    MetricSpec(
        PREFIX + "message_duration_seconds",
        Kind.HISTOGRAM,
        "Time from the first header field of a message to the reply, by what was done.",
        {"action": events.Action},
        "message.duration.{action}",
        events.MessageProcessed,
        "seconds",
        "Once a message, at its end, by the worker. The time in which the MTA hands over the message and the time that"
        " keys take are in it. `pass` is a message that was neither signed nor verified, `error` one that failed"
        " inside.",
    ),
    _counter(
        "dns_queries_total",
        events.DnsQuery,
        "Questions put to the network.",
        (),
        "dns.queries",
        "Once a question, its retries, TCP and aliases included, when it has ended; a cache hit is none. A kept key"
        " that is asked for anew (`dns.recheck_after`) is one; the DNSSEC probe is none, for it looks up no key.",
    ),
    _counter(
        "dns_responses_total",
        events.DnsResponse,
        "How questions put to the network ended.",
        ("result",),
        "dns.responses.{result}",
        "Once a question; NXDOMAIN and an empty answer are a success.",
    ),
    MetricSpec(
        PREFIX + "dns_duration_seconds",
        Kind.HISTOGRAM,
        "Time that questions put to the network took.",
        {},
        "dns.duration",
        events.DnsResponse,
        "seconds",
        "Once a question, when it has ended.",
    ),
    _counter(
        "dns_cache_total",
        events.DnsCacheLookup,
        "Names asked of the key cache, by what it knew.",
        ("result",),
        "dns.cache.{result}",
        "Once for each distinct key name of a message, by the worker. `negative_hit` is a name that is known to be"
        " absent, or that could not be had a moment ago.",
    ),
    _counter(
        "dnssec_keys_total",
        events.DnssecKey,
        "Keys looked up for a signature, by DNSSEC status.",
        ("status",),
        "dnssec.{status}",
        "Once for each evaluated signature whose key was looked up, by the worker; not for a key that does not exist."
        " `secure`: the name server vouches for it (AD). `insecure`: it does not, though it validates. `bogus`: it"
        " refused the record because it could not validate it. `unavailable`: the record could not be had. `unknown`:"
        " the name server does not validate, it is not known yet whether it does, or the record is of a zone file.",
    ),
    _counter(
        "errors_total",
        events.InternalError,
        "Internal errors that were fenced, by the stage of the message.",
        ("stage",),
        "errors.{stage}",
        "Once an error, by the worker; the log has the traceback.",
    ),
    _counter(
        "log_lines_lost_total",
        events.LogLineLost,
        "Log lines dropped because writing them would have meant waiting.",
        (),
        "log.lost",
        "Once a line, by the process that dropped it, worker or supervisor. Counters do not depend on the log.",
    ),
    _counter(
        "worker_restarts_total",
        events.WorkerRestarted,
        "Worker processes that ended unasked and were replaced.",
        (),
        "worker.restarts",
        "Once a process, by the supervisor. A reload or stop replaces workers too, and does not count.",
    ),
    SESSIONS,
    RELOAD_SUCCESS,
    RELOAD_TIMESTAMP,
    EXPORTER_UP,
    EXPORTER_FAILURES,
    EXPORTER_LOST,
)


@dataclass(frozen=True, slots=True)
class Sample:
    """One series of a counter or gauge at one moment. ``labels`` are names and values in catalogue order."""

    labels: tuple[tuple[str, str], ...]
    value: float


@dataclass(frozen=True, slots=True)
class HistogramSample:
    """One series of a histogram at one moment.

    Attributes:
        counts: observations in each bucket, not cumulative; one more than the bounds, the last for +Inf.
        sum_ns: sum of all observations in nanoseconds.
    """

    labels: tuple[tuple[str, str], ...]
    counts: tuple[int, ...]
    sum_ns: int

    @property
    def count(self) -> int:
        """Number of observations."""
        return sum(self.counts)


@dataclass(frozen=True, slots=True)
class Family:
    """A metric with all its series at one moment; series never seen are there with zero."""

    spec: MetricSpec
    samples: tuple[Sample | HistogramSample, ...]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All metrics at one moment, the core's in catalogue order, then the plugins' own.

    Attributes:
        families: one for each metric.
        started: Unix time in seconds at which all counters were zero; restarts of workers and exporters don't
            change it.
    """

    families: tuple[Family, ...]
    started: float = 0.0

    def value(self, name: str, **labels: str) -> float:
        """Sum of the series of metric ``name`` that have these labels (observations, for a histogram).

        Raises:
            KeyError: there is no such metric.
        """
        for family in self.families:
            if family.spec.name == name:
                return sum(
                    sample.count if isinstance(sample, HistogramSample) else sample.value
                    for sample in family.samples
                    if labels.items() <= dict(sample.labels).items()
                )
        raise KeyError(name)


_NAME_CHARACTERS: Final = frozenset(string.ascii_lowercase + string.digits + "_")


def plain_name(name: str) -> bool:
    """Whether ``name`` is lower-case letters, digits and underscores, not starting with a digit."""
    return bool(name) and not name[0].isdigit() and all(c in _NAME_CHARACTERS for c in name)
