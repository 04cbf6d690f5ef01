"""scripts/test runs every part, whatever becomes of the others, and ends with a table."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPT = (ROOT / "scripts/test").read_text()
STANDING = SCRIPT.partition("\nstanding=(")[2].partition(")")[0].split()
LONG = SCRIPT.partition("\nlong_parts=(")[2].partition(")")[0].split()


class Checkout:
    """A checkout of the script and parts that only note that they ran and exit with a status."""

    def __init__(self, base: Path) -> None:
        self._base = base
        base.chmod(0o755)
        (base / "scripts/parts").mkdir(parents=True)
        (base / "src/phoenixdkim").mkdir(parents=True)
        (base / "src/phoenixdkim/__init__.py").touch()
        shutil.copy(ROOT / "scripts/test", base / "scripts/test")
        self._script("setup", 'echo "setup $*"')
        for part in (*STANDING, *LONG, "collector"):
            self.part(part, 0)

    def _script(self, name: str, text: str) -> None:
        file = self._base / "scripts" / name
        file.write_text(f"#!/bin/bash\n# About {name}.\n{text}\n")
        file.chmod(0o755)

    def part(self, name: str, status: int) -> None:
        """Make a part that exits with this status."""
        self._script(f"parts/{name}", f'echo "ran {name} $*"\nexit {status}')

    def test(self, *arguments: str) -> tuple[int, list[str], dict[str, str]]:
        """Exit status, lines of output, and the result of each part in the table."""
        done = subprocess.run(
            ["bash", self._base / "scripts/test", *arguments], capture_output=True, text=True, timeout=120
        )
        lines = done.stdout.splitlines()
        table = done.stdout.partition("== results\n")[2].splitlines()[1:]
        return done.returncode, lines, {line[:10].strip(): line[12:20].strip() for line in table}


@pytest.fixture
def checkout() -> Iterator[Checkout]:
    # Not below pytest's directory, which other users cannot enter.
    with tempfile.TemporaryDirectory(prefix="phoenixdkim-parts-") as base:
        yield Checkout(Path(base))


def test_all_pass(checkout: Checkout) -> None:
    status, lines, table = checkout.test()
    assert status == 0
    assert [line for line in lines if line.startswith("ran ")] == [f"ran {part} " for part in STANDING]
    assert table == dict.fromkeys((*STANDING, "total"), "passed")


@pytest.mark.parametrize("broken", [{"checkers"}, {"packages"}, {"unit", "mail"}], ids=["first", "last", "two"])
@pytest.mark.parametrize("code", [1, 2, 134])
def test_others_run_after_a_failure(checkout: Checkout, broken: set[str], code: int) -> None:
    for part in broken:
        checkout.part(part, code)
    status, _, table = checkout.test()
    assert status == 1
    assert table == {part: "FAILED" if part in broken else "passed" for part in STANDING} | {"total": "FAILED"}


def test_missing_requirement_counts_only_where_the_part_was_named(checkout: Checkout) -> None:
    checkout.part("systemd", 77)
    status, _, table = checkout.test()
    assert (status, table["systemd"]) == (0, "not run")
    for arguments in (["--with", "systemd"], ["--only", "systemd"], ["--only", "unit", "--with", "systemd"]):
        status, _, table = checkout.test(*arguments)
        assert (status, table["systemd"], table["total"]) == (1, "FAILED", "FAILED")


def test_part_that_is_named_twice_runs_once(checkout: Checkout) -> None:
    _, lines, _ = checkout.test("--with", "unit")
    assert lines.count("ran unit ") == 1


def test_arguments_for_pytest(checkout: Checkout) -> None:
    checkout.part("unit", 5)
    status, lines, table = checkout.test("--fast", "-k", "canonical")
    assert "ran checkers -k canonical" in lines
    assert (status, table["unit"]) == (0, "no tests")
    assert checkout.test("--fast")[0] == 1, "a part without any test is a fault"


def test_install_is_for_setup_only(checkout: Checkout) -> None:
    assert "setup test" in checkout.test("--only", "unit")[1]
    _, lines, _ = checkout.test("--only", "unit", "--install")
    assert {"setup test --install", "ran unit "} <= set(lines)


def test_long_adds_parts(checkout: Checkout) -> None:
    _, _, table = checkout.test("--long")
    assert list(table) == [*STANDING, *LONG, "total"]


def test_unknown_part(checkout: Checkout) -> None:
    assert checkout.test("--only", "nothing")[0] == 2
