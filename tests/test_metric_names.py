"""Each name of a metric that rules, dashboard, configurations and documentation write is one that exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from phoenixdkim.exporters.packages import installed
from phoenixdkim.hookspecs import HookSpecs
from phoenixdkim.metrics import CATALOGUE, Kind, MetricSpec

ROOT = Path(__file__).parent.parent
FILES = [
    path
    for pattern in (
        "*.md",
        "docs/**/*.md",
        "contrib/**/*.md",
        "contrib/**/*.yml",
        "contrib/**/*.yaml",
        "contrib/**/*.json",
    )
    for path in sorted(ROOT.glob(pattern))
]
GUIDE = {"phoenixdkim_tally", "phoenixdkim_exporter_tally_writes_total", "phoenixdkim_evnt"}
"""What the guide to writing an exporter makes up: its package, that one's metric, and a mistake to be told of."""
WORD = re.compile(r"phoenixdkim_[a-z0-9_]+")
RECORDED = re.compile(r"record: (\S+)")


def exposed(spec: MetricSpec) -> set[str]:
    if spec.kind is Kind.HISTOGRAM:
        return {spec.name + ending for ending in ("", "_bucket", "_sum", "_count")}
    return {spec.name}


def known() -> set[str]:
    names = set().union(*map(exposed, CATALOGUE))
    for name in ("textfile", "http", "statsd"):
        for spec in installed()[name][0].load()().phoenixdkim_metrics():
            names |= exposed(spec)
    # What is no metric: hooks and packages.
    names |= {name for name in vars(HookSpecs) if name.startswith("phoenixdkim_")}
    names |= {path.name for path in ROOT.glob("plugins/*/src/*")} | {
        path.name for path in ROOT.glob("docs/examples/*/src/*")
    }
    # The middle of a recorded name.
    for path in ROOT.glob("contrib/prometheus/*.rules.yml"):
        names |= {name.split(":")[1] for name in RECORDED.findall(path.read_text())}
    return names


def unknown(text: str) -> set[str]:
    # What ends in an underscore is the beginning of names.
    return {word for word in WORD.findall(text) if not word.endswith("_")} - known()


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_each_name_exists(path: Path) -> None:
    made_up = GUIDE if path.name == "writing-an-exporter.md" else set()
    assert unknown(path.read_text()) == made_up


def test_a_name_that_does_not_exist_is_found() -> None:
    assert unknown("`rate(phoenixdkim_mesages_total[5m])`") == {"phoenixdkim_mesages_total"}
