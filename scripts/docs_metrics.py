"""The page of metrics: what each counts, when and by whom, and what to ask of it."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Final

from docs_markdown import cell, page, table
from docs_options import OWN_EXPORTERS

from phoenixdkim import metrics
from phoenixdkim.cli.metrics import label_values, samples
from phoenixdkim.exporters.packages import installed
from phoenixdkim.metrics import MetricSpec

PICTURES: Final = (
    ("messages", "Messages a second, by what was done, and how long they took"),
    ("verifying", "Verified messages by result, evaluated signatures by algorithm, keys by DNSSEC status"),
    ("dns", "Questions to DNS by how they ended, how long they took, and what the key cache knew"),
)

EXAMPLES: Final[dict[str, tuple[tuple[str, str], ...]]] = {
    "build_info": (("Which versions run, and how many of each", "count by (version) (phoenixdkim_build_info)"),),
    "messages_total": (("Messages a second", "sum(rate(phoenixdkim_messages_total[5m]))"),),
    "signatures_total": (
        (
            "Signatures a second, by algorithm",
            'sum by (algorithm) (rate(phoenixdkim_signatures_total{result="ok"}[5m]))',
        ),
        ("Signatures that failed in the last hour", 'increase(phoenixdkim_signatures_total{result="error"}[1h])'),
    ),
    "verifications_total": (
        (
            "Share of verified messages that pass",
            'sum(rate(phoenixdkim_verifications_total{result="pass"}[5m]))\n'
            "  / sum(rate(phoenixdkim_verifications_total[5m]))",
        ),
    ),
    "signature_verifications_total": (
        (
            "How much ed25519 there is among signatures that are good",
            'sum(rate(phoenixdkim_signature_verifications_total{result="pass",algorithm="ed25519-sha256"}[1h]))\n'
            '  / sum(rate(phoenixdkim_signature_verifications_total{result="pass"}[1h]))',
        ),
        (
            "Signatures of an hour that nobody should make any more",
            'sum(increase(phoenixdkim_signature_verifications_total{algorithm="rsa-sha1"}[1h]))',
        ),
    ),
    "unsigned_messages_total": (
        (
            "Why mail of our own clients is not signed",
            'topk(3, sum by (reason) (\n  increase(phoenixdkim_unsigned_messages_total{reason!="not_trusted"}[1h])\n))',
        ),
    ),
    "message_duration_seconds": (
        (
            "How long 95 of 100 messages take at most, by what is done",
            "histogram_quantile(0.95,\n  sum by (action, le) (rate(phoenixdkim_message_duration_seconds_bucket[5m])))",
        ),
        (
            "Share of messages that take longer than half a second",
            '1 - sum(rate(phoenixdkim_message_duration_seconds_bucket{le="0.5"}[5m]))\n'
            "  / sum(rate(phoenixdkim_message_duration_seconds_count[5m]))",
        ),
    ),
    "dns_queries_total": (
        (
            "Questions that a verified message costs",
            "sum(rate(phoenixdkim_dns_queries_total[5m]))\n  / sum(rate(phoenixdkim_verifications_total[5m]))",
        ),
    ),
    "dns_responses_total": (
        (
            "Share of questions that get no answer in time",
            'sum(rate(phoenixdkim_dns_responses_total{result="timeout"}[5m]))\n'
            "  / sum(rate(phoenixdkim_dns_responses_total[5m]))",
        ),
    ),
    "dns_duration_seconds": (
        (
            "Median",
            "histogram_quantile(0.5, sum by (le) (rate(phoenixdkim_dns_duration_seconds_bucket[5m])))",
        ),
        (
            "Mean",
            "sum(rate(phoenixdkim_dns_duration_seconds_sum[5m]))\n"
            "  / sum(rate(phoenixdkim_dns_duration_seconds_count[5m]))",
        ),
    ),
    "dns_cache_total": (
        (
            "Share of names that the cache knew",
            'sum(rate(phoenixdkim_dns_cache_total{result=~"hit|negative_hit"}[5m]))\n'
            "  / sum(rate(phoenixdkim_dns_cache_total[5m]))",
        ),
    ),
    "dnssec_keys_total": (
        (
            "Share of keys that DNSSEC vouches for",
            'sum(rate(phoenixdkim_dnssec_keys_total{status="secure"}[1h]))\n'
            "  / sum(rate(phoenixdkim_dnssec_keys_total[1h]))",
        ),
    ),
    "errors_total": (("Of a day; it should be 0", "sum by (stage) (increase(phoenixdkim_errors_total[1d]))"),),
    "log_lines_lost_total": (("Of a day", "sum(increase(phoenixdkim_log_lines_lost_total[1d]))"),),
    "worker_restarts_total": (("Of a day", "sum(increase(phoenixdkim_worker_restarts_total[1d]))"),),
    "sessions": (("The most in an hour", "max_over_time(phoenixdkim_sessions[1h])"),),
    "config_last_reload_success": (("Where a reload was refused", "phoenixdkim_config_last_reload_success == 0"),),
    "config_last_reload_timestamp_seconds": (
        ("Age of the configuration in days", "(time() - phoenixdkim_config_last_reload_timestamp_seconds) / 86400"),
    ),
    "exporter_up": (("Exporters that are down", "phoenixdkim_exporter_up == 0"),),
    "exporter_failures_total": (
        ("Of an hour, by exporter", "sum by (exporter) (increase(phoenixdkim_exporter_failures_total[1h]))"),
    ),
    "exporter_lost_total": (
        ("Of an hour, by exporter", "sum by (exporter) (increase(phoenixdkim_exporter_lost_total[1h]))"),
    ),
}

IDENTITIES: Final = (
    (
        "Each message has one action: exempt ones and those that failed inside are counted too.",
        "sum without (action) (phoenixdkim_message_duration_seconds_count) - phoenixdkim_messages_total",
    ),
    (
        "A question is counted when it has ended, with its result and its duration.",
        "sum without (result) (phoenixdkim_dns_responses_total) - phoenixdkim_dns_queries_total",
    ),
    (
        "",
        "phoenixdkim_dns_duration_seconds_count - phoenixdkim_dns_queries_total",
    ),
    (
        "Each message is signed, or has a reason why not.",
        "phoenixdkim_messages_total - sum without (reason) (phoenixdkim_unsigned_messages_total)\n"
        '  - ignoring (action) phoenixdkim_message_duration_seconds_count{action="sign"}',
    ),
    (
        "The messages that were verified are those with the action `verify`.",
        "sum without (result) (phoenixdkim_verifications_total)\n"
        '  - ignoring (action) phoenixdkim_message_duration_seconds_count{action="verify"}',
    ),
)


def promql(*examples: tuple[str, str]) -> str:
    """A block of queries, each below its question."""
    return "```promql\n" + "\n\n".join(f"# {question}\n{query}" for question, query in examples) + "\n```\n"


def _facts(spec: MetricSpec) -> list[tuple[str, str]]:
    return [
        ("kind", str(spec.kind)),
        *(
            (f"label `{name}`", "fixed for the life of the process" if values is None else ", ".join(values))
            for name, values in label_values(spec).items()
        ),
        *([("buckets", " ".join(f"{bound:g}" for bound in spec.buckets) + " +Inf")] if spec.buckets else []),
        ("StatsD", f"`{spec.dotted}`" if spec.dotted else "not sent"),
        ("series", str(spec.series())),
        *(
            [("event", f"[`{spec.event.__name__}`](reference/hooks.md#{spec.event.__name__.lower()})")]
            if spec.event
            else []
        ),
    ]


def _of_exporters() -> Iterator[tuple[str, MetricSpec]]:
    for name in OWN_EXPORTERS:
        plugin = installed()[name][0].load()
        implementation = plugin() if inspect.isclass(plugin) else plugin
        for spec in implementation.phoenixdkim_metrics():
            yield name, spec


def _anchor(spec: MetricSpec) -> str:
    return f"[`{spec.name}`](#{spec.name})"


def metrics_page() -> str:
    """The page of metrics."""
    series = sum(spec.series() for spec in metrics.CATALOGUE)
    lines = sum(samples(spec) for spec in metrics.CATALOGUE)
    overview = [
        (_anchor(spec), str(spec.kind), ", ".join(spec.labels), str(spec.series()), cell(spec.help))
        for spec in metrics.CATALOGUE
    ]
    parts = [
        f"{len(metrics.CATALOGUE)} metrics with {series} series, which are {lines} samples in a Prometheus exposition."
        " Every label has a fixed set of values, so their number does not grow with mail: no"
        " domain, selector, address or queue id is ever a label. All series are there from the start, at zero, so that"
        " `increase` sees the first event too. Labels `version` and `exporter` are fixed for the life of the process;"
        " each enabled exporter has its own series of the metrics with the label `exporter`.\n\n"
        "`phoenixdkim metrics` prints the same list, `phoenixdkim metrics --json` for programs.",
        "## Where the numbers come from\n\n"
        "Workers count in memory that they share with the daemon's supervisor: everything that one message brings"
        " about goes there in one step, before its answer goes out. Exporters read it, each in a process of its own,"
        " and all show the same. Counters start at zero with the daemon; a reload, a worker that dies and an exporter"
        " that dies leave them as they are. Nothing is sampled or estimated.\n\n"
        'In Prometheus names are as below. The StatsD exporter sends the names of the rows "StatsD", below its prefix,'
        " with labels as parts of the name or as tags: counters (`c`), gauges (`g`), and each duration as `ms` with"
        " fractions. See [prometheus.md](prometheus.md), [statsd.md](statsd.md) and, for the OpenTelemetry Collector,"
        " [opentelemetry.md](opentelemetry.md).",
        "## Scrape once\n\n"
        "The textfile and the HTTP exporter show the same series. A Prometheus that reads both has each twice, and"
        " every sum is twice what happened; [prometheus.md](prometheus.md) says how to take one.\n\n"
        + promql(
            (
                "Instances by host name, without port; more than 1 is one too many",
                'count by (host) (label_replace(phoenixdkim_build_info, "host", "$1", "instance", "([^:]+).*"))',
            )
        ),
        "## What adds up\n\nEach of these is 0 at rest, whatever happened; tests see to it.\n\n"
        + "\n".join(
            f"{text}\n\n```promql\n{query}\n```\n" if text else f"```promql\n{query}\n```\n"
            for text, query in IDENTITIES
        )
        + "\nAnd: messages are the summary lines of the log and the lines that were lost (`log_lines_lost_total`).",
        "## What it looks like\n\n"
        "A daemon under a load that swells and ebbs, as Prometheus saw it; in the shaded seconds DNS did not answer."
        " Drawn by `scripts/pictures` with the queries of the dashboard.\n\n"
        + "\n\n".join(f"![{caption}](pictures/{name}.svg)" for name, caption in PICTURES)
        + "\n\n[contrib/grafana/phoenixdkim.json](../contrib/grafana/phoenixdkim.json) is a dashboard of these and more"
        " for Grafana, [alerts.md](alerts.md) explains the rules for Prometheus.",
        "## All metrics\n\n" + table(("metric", "kind", "labels", "series", "meaning"), overview),
    ]
    for spec in metrics.CATALOGUE:
        examples = EXAMPLES[spec.name.removeprefix(metrics.PREFIX)]
        parts.append(
            f"### `{spec.name}`\n\n{spec.help}\n\n{spec.detail}\n\n{table(('', ''), _facts(spec))}\n{promql(*examples)}"
        )
    own = [(f"`{spec.name}`", str(spec.kind), name, cell(spec.help)) for name, spec in _of_exporters()]
    parts.append(
        "## What exporters count of themselves\n\n"
        "An exporter can have metrics of its own; their names start with `phoenixdkim_exporter_`. All exporters show"
        " them. They are there while their exporter is enabled.\n\n"
        + table(("metric", "kind", "exporter", "meaning"), own)
    )
    return page("Metrics", *parts)
