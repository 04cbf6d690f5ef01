"""The registry of commands."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import phoenixdkim.cli
from phoenixdkim import __version__
from phoenixdkim.cli import COMMANDS, command, main


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_is_whole_and_has_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    module = command(name)
    assert name == module.NAME
    assert module.HELP
    with pytest.raises(SystemExit) as ended:
        main([name, "--help"])
    assert ended.value.code == 0
    assert f"usage: phoenixdkim {name}" in capsys.readouterr().out


def test_no_command_and_an_unknown_one_are_usage_errors(capsys: pytest.CaptureFixture[str]) -> None:
    for words in ([], ["chek"]):
        with pytest.raises(SystemExit) as ended:
            main(words)
        assert ended.value.code == 2
    assert "check" in capsys.readouterr().err


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out == f"phoenixdkim {__version__}\n"


def test_help_imports_no_command() -> None:
    code = (
        "import sys\nfrom phoenixdkim.cli import main\ntry:\n    main(['--help'])\nexcept SystemExit:\n    pass\n"
        "print([n for n in sys.modules if n.startswith(('phoenixdkim.cli.', 'pydantic', 'cryptography', 'milter'))])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_a_reader_that_goes_away_is_no_traceback() -> None:
    program = Path(sys.executable).with_name("phoenixdkim")
    done = subprocess.run(
        ["/bin/sh", "-c", f"{program} metrics --json | head -c 1; echo; {program} check --sample | true"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""


def test_commands_are_modules_of_the_package() -> None:
    there = {path.stem for path in Path(phoenixdkim.cli.__file__).parent.glob("*.py")}
    assert set(COMMANDS) <= there
