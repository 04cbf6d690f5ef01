"""From the catalogue's names to those of OpenTelemetry's conventions.

Dots instead of a prefix with underscores, neither unit nor ``_total`` in the name, the unit as UCUM metadata: ``s`` for
seconds, ``{message}`` and the like for what is counted. The mapping that OpenTelemetry specifies towards Prometheus
gives the catalogue's names back, so that one dashboard serves both ways.
"""

from __future__ import annotations

from typing import Final

from phoenixdkim.metrics import Kind, MetricSpec

_AREAS: Final = ("config", "dns", "exporter", "message")
_UNITS: Final = {
    "phoenixdkim_messages_total": "{message}",
    "phoenixdkim_signatures_total": "{signature}",
    "phoenixdkim_verifications_total": "{message}",
    "phoenixdkim_signature_verifications_total": "{signature}",
    "phoenixdkim_unsigned_messages_total": "{message}",
    "phoenixdkim_dns_queries_total": "{query}",
    "phoenixdkim_dns_responses_total": "{response}",
    "phoenixdkim_dns_cache_total": "{lookup}",
    "phoenixdkim_dnssec_keys_total": "{key}",
    "phoenixdkim_errors_total": "{error}",
    "phoenixdkim_log_lines_lost_total": "{line}",
    "phoenixdkim_worker_restarts_total": "{process}",
    "phoenixdkim_exporter_failures_total": "{failure}",
    "phoenixdkim_sessions": "{session}",
}


def otel_name(spec: MetricSpec) -> str:
    """The metric's name, as in ``phoenixdkim.dns.duration``."""
    name = spec.name.removeprefix("phoenixdkim_").removesuffix("_total").removesuffix("_seconds")
    area, _, rest = name.partition("_")
    if area in _AREAS and rest:
        name = f"{area}.{rest}"
    return f"phoenixdkim.{name}"


def otel_unit(spec: MetricSpec) -> str:
    """The metric's unit in UCUM; empty where a number of its own kind is shown, as 1 for yes."""
    if spec.name.removesuffix("_total").endswith("_seconds"):
        return "s"
    if spec.name in _UNITS:
        return _UNITS[spec.name]
    # Of metrics that are newer than this file, and of other plugins'.
    return "{event}" if spec.kind is Kind.COUNTER else ""


def prometheus_name(name: str, unit: str, monotonic: bool) -> str:
    """What OpenTelemetry's mapping to Prometheus makes of a name."""
    plain = name.replace(".", "_")
    if unit == "s":
        plain += "_seconds"
    return plain + "_total" if monotonic else plain
