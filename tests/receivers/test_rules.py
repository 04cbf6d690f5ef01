"""Rules and dashboard: what can be said of them without data."""

from __future__ import annotations

import re
import subprocess
from itertools import combinations

import pytest

from receivers.expressions import ROOT, RULE_TESTS, RULES, dashboard

ALERTS = re.findall(r"- alert: (\w+)", RULES.read_text())


def promtool(*arguments: object) -> str:
    done = subprocess.run(["promtool", *map(str, arguments)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_promtool_takes_the_rules() -> None:
    assert "SUCCESS" in promtool("check", "rules", RULES)


def test_each_alert_fires_when_it_should_and_is_quiet_otherwise() -> None:
    assert "SUCCESS" in promtool("test", "rules", *RULE_TESTS)


@pytest.mark.parametrize("alert", ALERTS)
def test_each_alert_has_a_unit_test_and_a_runbook(alert: str) -> None:
    tests = "".join(path.read_text() for path in RULE_TESTS)
    quiet, firing = re.findall(rf"alertname: {alert}\n +eval_time: \w+\n +exp_alerts:(.*)\n", tests)
    assert (quiet.strip(), firing.strip()) == ("[]", "")
    rule = re.search(rf"- alert: {alert}\n(.*?)(?=\n      - alert|\Z)", RULES.read_text(), re.DOTALL)
    assert rule is not None
    for annotation in ("summary", "description"):
        assert f"\n          {annotation}: " in rule[1]
    assert f"runbook: docs/alerts.md#{alert.lower()}\n" in rule[1] + "\n"
    assert f"\n## {alert}\n" in (ROOT / "docs" / "alerts.md").read_text()


def test_no_runbook_is_of_an_alert_that_is_gone() -> None:
    assert re.findall(r"^## (PhoenixDKIM\w+)$", (ROOT / "docs" / "alerts.md").read_text(), re.MULTILINE) == ALERTS


def test_the_dashboard_is_whole() -> None:
    found = dashboard()
    panels = found["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    for panel in panels:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        if panel["type"] == "row":
            continue
        assert panel["title"]
        assert panel["description"]
        assert panel["fieldConfig"]["defaults"]["unit"]
        assert panel["datasource"]["uid"] == "${datasource}"
        assert panel["targets"]
        for target in panel["targets"]:
            assert target["datasource"]["uid"] == "${datasource}"
            assert target["legendFormat"]
            assert target["expr"].count('{job=~"$job",instance=~"$instance"') >= 1
    for one, other in combinations((panel["gridPos"] for panel in panels), 2):
        apart = (
            one["x"] + one["w"] <= other["x"]
            or other["x"] + other["w"] <= one["x"]
            or one["y"] + one["h"] <= other["y"]
            or other["y"] + other["h"] <= one["y"]
        )
        assert apart, (one, other)
    assert [entry["name"] for entry in found["templating"]["list"]] == ["datasource", "job", "instance"]
