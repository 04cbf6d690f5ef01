"""The documentation says what the code does, and leaves nothing out."""

from __future__ import annotations

import dataclasses
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

from phoenixdkim import events
from phoenixdkim.cli import COMMANDS
from phoenixdkim.config.sample import options, tables
from phoenixdkim.dkim.limits import Limits
from phoenixdkim.dkim.results import Reason, UnsignedReason
from phoenixdkim.exporters.packages import installed
from phoenixdkim.hookspecs import HookSpecs
from phoenixdkim.metrics import CATALOGUE
from phoenixdkim.options import Options

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"


def page(name: str) -> str:
    return (DOCS / "reference" / f"{name}.md").read_text()


def test_what_is_generated_is_as_the_code_has_it() -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "docs.py"), "--check"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_each_option_has_an_entry_below_its_table() -> None:
    for text, mark in (
        (page("configuration"), "### `{}`\n"),
        ((DOCS / "man/phoenixdkim.toml.5").read_text(), ".B {}\n"),
    ):
        for header, kind, _ in tables():
            title = f"## `{header}`\n" if "###" in mark else f".SS {header}\n"
            section = text.partition(title)[2].partition("\n## " if "###" in mark else "\n.SS ")[0]
            for name, _ in options(kind):
                assert mark.format(name) in section, f"{header} {name}"


@pytest.mark.parametrize("name", ["textfile", "http", "statsd"])
def test_each_option_of_our_exporters_has_an_entry(name: str) -> None:
    plugin = installed()[name][0].load()
    section = page("configuration").partition(f"## `[exporters.{name}]`\n")[2].partition("\n## ")[0]
    own = set(plugin().phoenixdkim_options().model_fields) - set(Options.model_fields)
    assert own
    for option in own:
        assert f"### `{option}`\n" in section


def test_each_reason_is_in_the_manual() -> None:
    text = page("reasons")
    for reason in (*Reason, *UnsignedReason):
        assert f"| `{reason}` |" in text


def test_each_metric_label_and_dotted_name_is_in_the_manual() -> None:
    text = (DOCS / "metrics.md").read_text()
    for spec in CATALOGUE:
        section = text.partition(f"\n### `{spec.name}`\n")[2].partition("\n### ")[0]
        assert spec.help in section
        assert spec.detail in section
        assert "```promql\n" in section
        assert all(f"label `{label}`" in section for label in spec.labels)
        assert not spec.dotted or f"`{spec.dotted}`" in section


def test_each_hook_and_event_is_in_the_manual() -> None:
    text = page("hooks")
    for name in vars(HookSpecs):
        if name.startswith("phoenixdkim_"):
            assert f"### `{name}`\n" in text
    for kind in vars(events).values():
        if inspect.isclass(kind) and issubclass(kind, events.Event) and kind is not events.Event:
            assert f"### `{kind.__name__}`\n" in text


def test_each_limit_is_in_the_manual() -> None:
    text = page("limits")
    for field in dataclasses.fields(Limits):
        assert f"| `limits.{field.name}` | {field.default} |" in text


def test_each_command_has_a_section_and_a_man_page() -> None:
    for name in COMMANDS:
        assert f"## `phoenixdkim {name}`\n" in page("commands")
        assert (DOCS / "man" / f"phoenixdkim-{name}.1").is_file()
