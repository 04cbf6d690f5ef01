"""The PromQL of rules, dashboard and documentation, as something that has data when all is well."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
RULES = ROOT / "contrib" / "prometheus" / "phoenixdkim.rules.yml"
RULE_TESTS = sorted((ROOT / "contrib" / "prometheus").glob("*.tests.yml"))
DASHBOARD = ROOT / "contrib" / "grafana" / "phoenixdkim.json"
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "contrib").rglob("*.md")])
NAME = re.compile(r"\b(?:[a-z_]+:)?phoenixdkim_[a-z0-9_]+(?::[a-z0-9_]+)?")
_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"')
_COMPARISON = re.compile(r"(==|!=|>=|<=|>|<)(?!\s*bool)")
_BLOCK = re.compile(r"^```promql\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def names(expression: str) -> set[str]:
    """Names of metrics in an expression."""
    return set(NAME.findall(_QUOTED.sub('""', expression)))


def without_thresholds(expression: str) -> str:
    """The expression with a value for each series that it looks at, whether or not it is beyond its threshold."""
    parts = re.split(r"(\{[^}]*\})", expression)
    text = "".join(part if number % 2 else _COMPARISON.sub(r"\1 bool", part) for number, part in enumerate(parts))
    # What was a day or a week ago the test's Prometheus can't know.
    return re.sub(r"\boffset \w+", "", re.sub(r"\babsent\(", "(", text))


def dashboard() -> dict[str, Any]:
    """The dashboard."""
    loaded: dict[str, Any] = json.loads(DASHBOARD.read_text())
    return loaded


def of_the_dashboard() -> Iterator[tuple[str, str]]:
    """Title and expression of each query, with values for Grafana's variables."""
    found = dashboard()
    queries = [(panel["title"], target["expr"]) for panel in found["panels"] for target in panel.get("targets", [])]
    queries += [(entry["name"], entry["expr"]) for entry in found["annotations"]["list"]]
    for title, expression in queries:
        for name, value in (("$__rate_interval", "1m"), ("$__range", "1h"), ("$job", ".+"), ("$instance", ".+")):
            expression = expression.replace(name, value)
        yield title, expression


def of_the_pages() -> Iterator[tuple[str, str]]:
    """Page and expression of each block of PromQL; a block has one a paragraph, and comments."""
    for page in PAGES:
        for block in _BLOCK.findall(page.read_text()):
            for paragraph in block.split("\n\n"):
                lines = [line for line in paragraph.splitlines() if not line.startswith("#")]
                if expression := "\n".join(lines).strip():
                    yield str(page.relative_to(ROOT)), expression


def blocks(page: str, section: str) -> list[str]:
    """The blocks of PromQL of one section."""
    return _BLOCK.findall((ROOT / page).read_text().partition(f"\n## {section}\n")[2].partition("\n## ")[0])
