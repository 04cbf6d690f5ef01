"""Exporter ``otlp``: all metrics to an OpenTelemetry Collector, over OTLP/HTTP.

It shows states, so a round that fails is made up for by the next one, and nothing is lost by it.
"""

from __future__ import annotations

import logging
import socket
from typing import Annotated, Final, Literal, Self

from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.sdk.metrics.export import MetricExportResult
from pydantic import AfterValidator, Field, model_validator

from phoenixdkim.hookspecs import Context, hookimpl
from phoenixdkim.metrics import Kind, MetricSpec
from phoenixdkim.options import Options
from phoenixdkim_otlp.data import metrics_data

FAILURES: Final = MetricSpec(
    "phoenixdkim_exporter_otlp_failures_total", Kind.COUNTER, "Rounds that the collector did not take."
)
LAST_EXPORT: Final = MetricSpec(
    "phoenixdkim_exporter_otlp_last_export_timestamp_seconds",
    Kind.GAUGE,
    "When the collector last took the metrics, as a Unix time.",
    unit="seconds",
)


def _url(text: str) -> str:
    if not text.startswith(("http://", "https://")) or not text.isprintable() or " " in text:
        raise ValueError(f"{text!r}: write a URL, as in 'http://127.0.0.1:4318/v1/metrics'")
    return text


class OtlpOptions(Options):
    """Table of the OTLP exporter."""

    endpoint: Annotated[str, AfterValidator(_url)] = "http://127.0.0.1:4318/v1/metrics"
    """Where the collector takes metrics over HTTP, path included."""
    headers: dict[str, str] = Field(default_factory=dict)
    """Headers that go with each request, for a token or a tenant."""
    compression: Literal["none", "gzip"] = "none"
    """How requests are compressed."""
    timeout: float = Field(default=1.5, ge=0.1, le=5)
    """Seconds that the collector has to take a round; less than stop_timeout, for the last round is at the stop."""
    instance: str = Field(default="", max_length=200)
    """Attribute service.instance.id; empty: the host's name."""

    @model_validator(mode="after")
    def _in_time(self) -> Self:
        if self.timeout >= self.stop_timeout:
            raise ValueError(f"timeout = {self.timeout:g} must be less than stop_timeout = {self.stop_timeout:g}")
        return self


class OtlpExporter:
    """Sends a snapshot at each tick."""

    api_version = 1

    def __init__(self) -> None:
        self._context: Context | None = None
        self._exporter: OTLPMetricExporter | None = None
        self._instance = ""
        self._failing = False

    @hookimpl
    def phoenixdkim_options(self) -> type[Options]:
        """The options' class."""
        return OtlpOptions

    @hookimpl
    def phoenixdkim_metrics(self) -> list[MetricSpec]:
        """The exporter's own metrics."""
        return [FAILURES, LAST_EXPORT]

    @hookimpl
    def phoenixdkim_start(self, context: Context) -> None:
        """Make the SDK's exporter; the first round follows at once."""
        options: OtlpOptions = context.options
        self._context = context
        self._instance = options.instance or socket.gethostname()
        # The SDK tells of each failed request; the daemon's log has one line a change of state instead.
        logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)
        self._exporter = OTLPMetricExporter(
            endpoint=options.endpoint,
            headers=options.headers,
            timeout=options.timeout,
            compression=Compression(options.compression),
        )

    @hookimpl
    def phoenixdkim_tick(self, now: float) -> None:
        """Send everything."""
        context, exporter = self._context, self._exporter
        assert context is not None and exporter is not None
        if exporter.export(metrics_data(context.snapshot(), self._instance, now)) is MetricExportResult.SUCCESS:
            context.set(LAST_EXPORT, now)
            if self._failing:
                context.log.info("%s takes metrics again", context.options.endpoint)
            self._failing = False
            return
        context.add(FAILURES)
        if not self._failing:
            context.log.error("%s does not take metrics; tried again at each interval", context.options.endpoint)
        self._failing = True

    @hookimpl
    def phoenixdkim_stop(self) -> None:
        """Let go of the connection; the last tick has sent the last round."""
        if self._exporter is not None:
            self._exporter.shutdown()
