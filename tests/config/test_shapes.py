"""Schema, sample and effective configuration agree with the model."""

from __future__ import annotations

import dataclasses
import re
import tomllib
from typing import Any

from phoenixdkim.config.effective import effective
from phoenixdkim.config.load import read_text
from phoenixdkim.config.model import Config, Dns, LimitsTable
from phoenixdkim.config.sample import options, sample, tables
from phoenixdkim.config.schema import schema
from phoenixdkim.dkim.limits import Limits
from phoenixdkim.dns.options import ResolverOptions


def loaded(text: str) -> Config:
    found = read_text(text, "file")
    assert found.config is not None, [str(fault) for fault in found.faults]
    return found.config


def test_every_option_has_words() -> None:
    for header, kind, description in tables():
        assert description, header
        for name, info in options(kind):
            assert info.description, f"{header} {name}"
            assert info.description.endswith("."), f"{header} {name}"


def test_the_sample_is_valid_and_changes_nothing() -> None:
    assert loaded(sample()) == loaded("[signing]\nenabled = false")


def test_the_sample_with_all_its_options_taken_in_is_valid_and_changes_nothing() -> None:
    text = re.sub(r"(?m)^#(?=[^ #\n])(?!\[)", "", sample().partition("#[[signing.rules]]")[0]).partition("# A rule")[0]
    assert "workers = 0" in text.splitlines()
    assert loaded(text) == loaded("[signing]\nenabled = false")


def test_the_sample_has_every_option() -> None:
    text = sample()
    for _, kind, _ in tables():
        for name, _ in options(kind):
            assert re.search(rf"(?m)^#{name} = |^# {name}: ", text), name


def test_effective_is_whole_and_can_be_read_again() -> None:
    text = """\
[[signing.rules]]
from = "*@example.com"
keys = ["a"]
[keys.a]
domain = "example.com"
selector = "s"
file = "/k"
[exporters.http]
listen = "127.0.0.1:9323"
odd = [1, { x = 2 }]
"""
    config = loaded(text)
    written = effective(config)
    assert loaded(written) == config
    shown = tomllib.loads(written)
    assert set(shown) == set(Config.model_fields)
    assert shown["milter"]["workers"] == 0
    assert shown["signing"]["rules"][0]["from"] == "*@example.com"


def _objects(value: Any) -> list[dict[str, Any]]:
    if isinstance(value, dict):
        return [value] * ("properties" in value) + [found for below in value.values() for found in _objects(below)]
    return [found for below in value for found in _objects(below)] if isinstance(value, list) else []


def test_the_schema_is_closed_and_described() -> None:
    made = schema()
    for table in _objects(made):
        if "type" not in table:
            continue
        assert table["additionalProperties"] is False
    rule = made["$defs"]["Rule"]
    assert set(rule["properties"]) == {"from", "keys", "identity"}
    assert all(info["description"] for info in rule["properties"].values())


def test_limits_and_resolver_options_are_all_there() -> None:
    assert [field.name for field in dataclasses.fields(Limits)] == list(LimitsTable.model_fields)
    assert [field.name for field in dataclasses.fields(ResolverOptions)] == list(Dns.model_fields)
