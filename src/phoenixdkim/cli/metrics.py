"""``phoenixdkim metrics``: the catalogue."""

from __future__ import annotations

import argparse
import json
import textwrap
from typing import Any, Final

from phoenixdkim.metrics import CATALOGUE, Constant, Kind, MetricSpec

NAME: Final = "metrics"
HELP: Final = (
    "Show every metric with its kind, labels and their values, its dotted name for StatsD, and how many series there"
    " can be. There are no others: every label has a fixed set of values."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("--json", action="store_true", help="print the catalogue as JSON")


def samples(spec: MetricSpec) -> int:
    """Lines that the metric has in a Prometheus exposition: of a histogram all buckets, sum and count."""
    return spec.series() * (len(spec.buckets) + 3 if spec.kind is Kind.HISTOGRAM else 1)


def label_values(spec: MetricSpec) -> dict[str, list[str] | None]:
    """Labels and their values; None where it is fixed for the life of the process."""
    return {
        name: None if isinstance(kind, Constant) else [str(member.value) for member in kind]
        for name, kind in spec.labels.items()
    }


def dotted(spec: MetricSpec) -> str:
    """The dotted name with ``{label}`` for values; empty for what StatsD does not carry."""
    return spec.dotted


def as_json(spec: MetricSpec) -> dict[str, Any]:
    """One metric for programs."""
    return {
        "name": spec.name,
        "kind": str(spec.kind),
        "help": spec.help,
        "unit": spec.unit,
        "labels": label_values(spec),
        "buckets": list(spec.buckets),
        "dotted": dotted(spec),
        "series": spec.series(),
        "samples": samples(spec),
        "detail": spec.detail,
    }


def run(args: argparse.Namespace) -> int:
    """Do it; returns the exit status."""
    series = sum(spec.series() for spec in CATALOGUE)
    lines = sum(samples(spec) for spec in CATALOGUE)
    if args.json:
        metrics = [as_json(spec) for spec in CATALOGUE]
        print(json.dumps({"metrics": metrics, "series": series, "samples": lines}, indent=2))
        return 0
    for spec in CATALOGUE:
        print(f"{spec.name}  {spec.kind}, {spec.series()} series")
        print(textwrap.indent(textwrap.fill(f"{spec.help} {spec.detail}".replace("`", ""), 96), "    "))
        for name, values in label_values(spec).items():
            text = f"{name}: " + ("fixed for the life of the process" if values is None else " ".join(values))
            print(textwrap.fill(text, 96, initial_indent="    ", subsequent_indent="        ", break_on_hyphens=False))
        if spec.buckets:
            print(f"    buckets: {' '.join(f'{bound:g}' for bound in spec.buckets)} +Inf")
        print(f"    dotted: {dotted(spec) or 'none'}\n")
    print(f"{len(CATALOGUE)} metrics with {series} series: {lines} samples in a Prometheus exposition, where labels")
    print("'exporter' count once for each enabled exporter.")
    return 0
