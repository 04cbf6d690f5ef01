"""Every requirement has a test and code, and every choice an option that exists, or none."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parent.parent / "scripts"))

import docs_conformance as docs

WANTED = [
    f"{letter}{number:02}"
    for letter, count in (("V", 26), ("C", 14), ("D", 18), ("S", 13), ("A", 14), ("E", 5))
    for number in range(1, count + 1)
]


def test_the_table_has_all_requirements_and_no_others() -> None:
    assert list(docs.requirements()) == WANTED
    assert list(docs.groups()) == list("VCDSAE")


@pytest.mark.parametrize("name", WANTED)
def test_each_requirement_has_a_test(name: str) -> None:
    functions, rows = docs.evidence()
    assert functions[name] or rows[name]


@pytest.mark.parametrize("name", WANTED)
def test_each_requirement_is_somewhere_in_the_code(name: str) -> None:
    code = docs.requirements()[name].code
    assert code
    assert [reference for reference in code if not docs.code_exists(reference)] == []


@pytest.mark.parametrize("choice", docs.choices(), ids=lambda choice: choice.title)
def test_choices_name_requirements_and_options_that_exist(choice: docs.Choice) -> None:
    assert choice.choice and choice.reason and choice.ids
    assert set(choice.ids) <= set(WANTED)
    assert [name for name in choice.options if not docs.option_exists(name)] == []


def test_tests_and_rows_name_requirements_that_exist() -> None:
    """Other letters are attacks and faults, which have no table here."""
    for test in docs.tests():
        assert test.ids <= set(WANTED), f"{test.path}: {test.name}"
    for module, row, ids in docs.rows():
        for name in ids:
            assert name in WANTED or re.fullmatch(r"[KMN][0-9]{1,2}", name), f"{module}: {row}: {name}"


def test_what_does_not_exist_is_noticed() -> None:
    assert not docs.code_exists("phoenixdkim.dkim.tags:no_such_function")
    assert not docs.code_exists("phoenixdkim.no_such_module:f")
    assert not docs.code_exists("phoenixdkim.dkim.tags:")
    assert not docs.option_exists("verifying.no_such_option") and not docs.option_exists("none.timeout")
