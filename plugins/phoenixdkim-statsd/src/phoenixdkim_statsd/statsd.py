"""Exporter ``statsd``: counters, timers and gauges as StatsD datagrams.

Events that happened seventeen times in a tick are one line with 17. Lines are packed into datagrams up to a size;
what could not be sent is counted, never waited for.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, ClassVar, Final

from pydantic import AfterValidator, Field

from phoenixdkim.events import Event
from phoenixdkim.hookspecs import Context, hookimpl
from phoenixdkim.metrics import CATALOGUE, Kind, MetricSpec, Sample
from phoenixdkim.options import Options, parse_host_port
from phoenixdkim_statsd.lines import Tags, line
from phoenixdkim_statsd.link import Link

SAMPLES_MISSING: Final = MetricSpec(
    "phoenixdkim_exporter_statsd_samples_missing_total",
    Kind.COUNTER,
    "Measured values that came faster than they could be kept for sending; their counters are complete.",
)
PACKETS: Final = MetricSpec("phoenixdkim_exporter_statsd_packets_total", Kind.COUNTER, "Datagrams sent.")
_NOT_SENT: Final = frozenset({"phoenixdkim_build_info"})


def _address(text: str) -> str:
    if text.startswith("unix:"):
        path = text.removeprefix("unix:")
        if not path.startswith("/") or len(path.encode()) > 107 or "\0" in path:
            raise ValueError(f"{text!r}: write unix: and an absolute path of at most 107 octets")
        return text
    parse_host_port(text)
    return text


def _prefix(text: str) -> str:
    if not all((c.isalnum() and c.isascii()) or c in "_-." for c in text) or text.startswith(".") or text.endswith("."):
        raise ValueError(f"{text!r}: a prefix has letters, digits, '_', '-' and inner dots")
    return text


class StatsdOptions(Options):
    """Table of the StatsD exporter."""

    wants_samples: ClassVar[bool] = True

    address: Annotated[str, AfterValidator(_address)] = "127.0.0.1:8125"
    """Where the server is: `host:port`, `[IPv6]:port`, or `unix:/path` for a datagram socket."""
    prefix: Annotated[str, AfterValidator(_prefix)] = Field(default="phoenixdkim", max_length=100)
    """Before each name; may be empty."""
    interval: float = Field(default=1.0, ge=0.1, le=3600)
    """Seconds between two rounds."""
    tags: Tags = Field(default=Tags.NONE, strict=False)
    """How labels are written: `none` puts them into dotted names; `datadog`, `influx` and `graphite` are tags."""
    packet_size: int = Field(default=1432, ge=256, le=65507)
    """Most octets of a datagram: 1432 for Ethernet, 512 for the Internet, 8932 for loopback."""
    resolve_interval: float = Field(default=300.0, ge=1, le=86400)
    """Seconds between two look-ups of the server's name."""


class StatsdExporter:
    """Sends what happened at each tick."""

    api_version = 1

    def __init__(self) -> None:
        self._context: Context | None = None
        self._link: Link | None = None
        self._specs: dict[type[Event], list[MetricSpec]] = {}
        self._packet = bytearray()
        self._pending: list[int] = []  # counts of the events whose last line is in the packet
        self._spoiled = False  # a line of the event under way was lost already
        self._delivered = 0
        self._failing = ""
        self._sent: dict[tuple[str, tuple[tuple[str, str], ...]], float] = {}
        for spec in CATALOGUE:
            if spec.event is not None:
                self._specs.setdefault(spec.event, []).append(spec)

    @hookimpl
    def phoenixdkim_options(self) -> type[Options]:
        """The options' class."""
        return StatsdOptions

    @hookimpl
    def phoenixdkim_metrics(self) -> list[MetricSpec]:
        """The exporter's own metrics."""
        return [SAMPLES_MISSING, PACKETS]

    @hookimpl
    def phoenixdkim_start(self, context: Context) -> None:
        """Begin to look up the server's name; a name that is an address is there at once."""
        self._context = context
        self._link = Link(context.options.address, context.options.resolve_interval)
        self._link.resolve(wait=0.2)

    @hookimpl
    def phoenixdkim_event(self, event: Event, count: int, samples: Sequence[float]) -> None:
        """Write the lines of one event."""
        context = self._context
        assert context is not None
        labels = event.labels()
        self._spoiled = False
        missing = False
        for spec in self._specs.get(type(event), ()):
            shown = {name: labels[name] for name in spec.labels}
            if spec.kind is Kind.COUNTER:
                self._put(self._line(spec, shown, str(count), "c"))
                continue
            for seconds in samples:
                self._put(self._line(spec, shown, _milliseconds(seconds), "ms"))
            missing = missing or len(samples) < count
        if missing:
            context.add(SAMPLES_MISSING, amount=count - len(samples))
        if self._spoiled:
            # Some of its lines left, some did not: it counts as lost, once.
            context.lost(count)
            self._pending.append(0)
        else:
            self._pending.append(count)

    @hookimpl
    def phoenixdkim_tick(self, now: float) -> None:
        """Write gauges and counters that have no event, and send what is left."""
        context, link = self._context, self._link
        assert context is not None and link is not None
        link.resolve()
        self._flush()
        for family in context.snapshot().families:
            spec = family.spec
            if spec.event is not None or spec.kind is Kind.HISTOGRAM or spec.name in _NOT_SENT:
                continue
            for sample in family.samples:
                if isinstance(sample, Sample):
                    self._put_sample(spec, sample)
        self._flush()
        self._delivered = 0

    @hookimpl
    def phoenixdkim_stop(self) -> None:
        """The last tick has sent everything."""
        if self._link is not None:
            self._link.close()

    def _put_sample(self, spec: MetricSpec, sample: Sample) -> None:
        labels = dict(sample.labels)
        if spec.kind is Kind.GAUGE:
            self._put(self._line(spec, labels, _number(sample.value), "g"))
            return
        key = (spec.name, sample.labels)
        delta = sample.value - self._sent.get(key, 0)
        self._sent[key] = sample.value
        if delta > 0:
            self._put(self._line(spec, labels, _number(delta), "c"))

    def _line(self, spec: MetricSpec, labels: dict[str, str], value: str, kind: str) -> bytes:
        assert self._context is not None
        options = self._context.options
        return line(options.prefix, options.tags, spec, labels, value, kind)

    def _put(self, text: bytes) -> None:
        assert self._context is not None
        if self._packet and len(self._packet) + 1 + len(text) > self._context.options.packet_size:
            self._flush()
        if self._packet:
            self._packet += b"\n"
        self._packet += text

    def _flush(self) -> None:
        """Send the packet. Events that ended in it are delivered now, or lost."""
        context, link = self._context, self._link
        assert context is not None and link is not None
        if self._packet:
            failure = link.send(bytes(self._packet))
            self._packet.clear()
            if failure:
                self._spoiled = True
                if lost := sum(self._pending):
                    context.lost(lost)
            else:
                context.add(PACKETS)
            self._tell(failure)
        self._delivered += len(self._pending)
        self._pending.clear()
        context.delivered(self._delivered)

    def _tell(self, failure: str) -> None:
        assert self._context is not None
        if failure == self._failing:
            return
        log, address = self._context.log, self._context.options.address
        if failure:
            log.error("%s: %s; what can't be sent is counted as lost", address, failure)
        else:
            log.info("%s takes datagrams again", address)
        self._failing = failure


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1000:.6f}".rstrip("0").rstrip(".")


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(value)
