"""What the README shows works."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from phoenixdkim.config.load import read_text
from phoenixdkim.exporters.check import check_tables

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def test_the_sample_configuration_loads_with_its_exporters():
    (text,) = re.findall(r"```toml\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    loaded = read_text(text, "README.md", check_tables)
    assert [str(fault) for fault in loaded.faults if fault.is_error] == []


def test_commands_that_are_named_exist():
    for name in re.findall(r"`?(scripts/[a-z]+)", (ROOT / "README.md").read_text()):
        assert (ROOT / name).stat().st_mode & 0o111


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
        if "://" not in target:
            assert (page.parent / target).exists(), target
