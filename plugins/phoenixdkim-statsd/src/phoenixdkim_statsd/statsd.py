"""Exporter ``statsd``: counters, timers and gauges as StatsD datagrams.

Events that happened seventeen times in a tick are one line with 17. Lines are packed into datagrams up to a size;
what could not be sent is counted, never waited for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated, ClassVar, Final

from pydantic import AfterValidator, Field

from phoenixdkim.events import Event
from phoenixdkim.hookspecs import Context, Finding, hookimpl
from phoenixdkim.metrics import CATALOGUE, Kind, MetricSpec, Sample
from phoenixdkim.options import Options, parse_host_port
from phoenixdkim_statsd.lines import Tags, line
from phoenixdkim_statsd.link import Link, reach

SAMPLES_MISSING: Final = MetricSpec(
    "phoenixdkim_exporter_statsd_samples_missing_total",
    Kind.COUNTER,
    "Measured values that came faster than they could be kept, or whose datagram could not be sent.",
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


_Series = tuple[str, tuple[tuple[str, str], ...]]


@dataclass(slots=True)
class _Packet:
    """A datagram in the making, and what is lost if it can't be sent.

    Attributes:
        data: its lines.
        events: calls of the event hook whose first line, the count, is in it.
        count: how many events those lines count.
        samples: measured values in it.
        told: additions to counters that count no event.
    """

    data: bytearray = field(default_factory=bytearray)
    events: int = 0
    count: int = 0
    samples: int = 0
    told: dict[_Series, float] = field(default_factory=dict)


class StatsdExporter:
    """Sends what happened at each tick."""

    api_version = 1

    def __init__(self) -> None:
        self._context: Context | None = None
        self._link: Link | None = None
        self._specs: dict[type[Event], list[MetricSpec]] = {}
        self._packet = _Packet()
        self._last = _Packet()
        self._delivered = 0
        self._trouble = ""  # in the tick under way
        self._failing = ""  # as it was told
        self._too_long = False
        self._told: dict[_Series, float] = {}
        # Counters first: whether an event was delivered or lost is the fate of its count.
        for spec in sorted(CATALOGUE, key=lambda spec: spec.kind is not Kind.COUNTER):
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
    def phoenixdkim_check(self, options: StatsdOptions) -> list[Finding]:
        """Resolve the server's name, or connect to its unix socket; nothing is sent."""
        return [Finding(f"address {options.address}: {trouble}")] if (trouble := reach(options.address)) else []

    @hookimpl
    def phoenixdkim_start(self, context: Context) -> None:
        """Begin to look up the server's name; an address is there at once."""
        self._context = context
        self._link = Link(context.options.address, context.options.resolve_interval)
        self._link.resolve(wait=0.2)
        snapshot = context.snapshot()
        if snapshot.value(PACKETS.name):
            # A predecessor in this exporter's place has told of these: told again they would be counted twice.
            self._told = {
                (family.spec.name, sample.labels): sample.value
                for family in snapshot.families
                for sample in family.samples
                if _counts_no_event(family.spec) and isinstance(sample, Sample)
            }

    @hookimpl
    def phoenixdkim_event(self, event: Event, count: int, samples: Sequence[float]) -> None:
        """Write the lines of one event, its count first."""
        context = self._context
        assert context is not None
        labels = event.labels()
        first = True
        for spec in self._specs.get(type(event), ()):
            shown = {name: labels[name] for name in spec.labels}
            if spec.kind is Kind.COUNTER:
                fits = self._put(self._line(spec, shown, str(count), "c"))
                if first:
                    first = False
                    self._packet.events += 1
                    if fits:
                        self._packet.count += count
                    else:
                        context.lost(count)
                continue
            for seconds in samples:
                if self._put(self._line(spec, shown, _milliseconds(seconds), "ms")):
                    self._packet.samples += 1
            if len(samples) < count:
                context.add(SAMPLES_MISSING, amount=count - len(samples))

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
        link.ticked()
        self._delivered = 0
        self._tell(self._trouble)
        self._trouble = ""

    @hookimpl
    def phoenixdkim_stop(self) -> None:
        """The last tick has sent everything."""
        if self._link is not None:
            self._learn()
            self._link.close()

    def _put_sample(self, spec: MetricSpec, sample: Sample) -> None:
        labels = dict(sample.labels)
        if spec.kind is Kind.GAUGE:
            self._put(self._line(spec, labels, _number(sample.value), "g"))
            return
        key = (spec.name, sample.labels)
        delta = sample.value - self._told.get(key, 0)
        if delta > 0 and self._put(self._line(spec, labels, _number(delta), "c")):
            self._packet.told[key] = delta

    def _line(self, spec: MetricSpec, labels: dict[str, str], value: str, kind: str) -> bytes:
        assert self._context is not None
        options = self._context.options
        return line(options.prefix, options.tags, spec, labels, value, kind)

    def _put(self, text: bytes) -> bool:
        """Add a line to the packet; False when it fits into none."""
        assert self._context is not None
        size = self._context.options.packet_size
        if len(text) > size:
            if not self._too_long:
                self._too_long = True
                self._context.log.error(
                    "lines of %d octets do not fit into packet_size = %d and are not sent: %.80s",
                    len(text),
                    size,
                    text.decode("ascii", "replace"),
                )
            return False
        if self._packet.data and len(self._packet.data) + 1 + len(text) > size:
            self._flush()
        if self._packet.data:
            self._packet.data += b"\n"
        self._packet.data += text
        return True

    def _flush(self) -> None:
        """Send the packet. What is in it is delivered now, or lost; additions to counters are told again later."""
        context, link, packet = self._context, self._link, self._packet
        assert context is not None and link is not None
        self._learn()
        if packet.data:
            failure = link.send(bytes(packet.data))
            self._learn()
            if failure:
                self._trouble = failure
                self._lose(packet, unsay=False)
                self._last = _Packet()
            else:
                context.add(PACKETS)
                for key, delta in packet.told.items():
                    self._told[key] = self._told.get(key, 0) + delta
                self._last = packet
        self._packet = _Packet()
        self._delivered += packet.events
        context.delivered(self._delivered)

    def _learn(self) -> None:
        """Find out whether the last packet was refused after it had left."""
        assert self._link is not None
        if self._link.refused():
            self._trouble = "connection refused"
            self._lose(self._last, unsay=True)
            self._last = _Packet()

    def _lose(self, packet: _Packet, unsay: bool) -> None:
        assert self._context is not None
        if packet.count:
            self._context.lost(packet.count)
        if packet.samples:
            self._context.add(SAMPLES_MISSING, amount=packet.samples)
        if unsay:
            for key, delta in packet.told.items():
                self._told[key] -= delta

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


def _counts_no_event(spec: MetricSpec) -> bool:
    return spec.kind is Kind.COUNTER and spec.event is None


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1000:.6f}".rstrip("0").rstrip(".")


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(value)
