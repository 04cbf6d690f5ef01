"""scripts/setup installs no Debian package unasked, and says which command would."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FAKES = {
    # Which packages are installed is in the file "installed"; each is "name provides".
    "dpkg-query": """
while [ $# -gt 0 ]; do
  case "$1" in
    *Provides*) cat "$FAKES/installed"; exit ;;
    -*) shift 1; [ "${1#*Status}" = "$1" ] || shift ;;
    *) grep -q "^$1 " "$FAKES/installed" && printf installed; exit ;;
  esac
done
""",
    "apt-get": 'echo "apt-get $*" >> "$FAKES/calls"\n',
    "sudo": 'if [ -e "$FAKES/no-sudo" ]; then exit 1; fi\n[ "$1" != -n ] || shift\n"$@"\n',
    "id": 'cat "$FAKES/uid"\n',
    "npm": "exit 1\n",
    "tee": "cat > /dev/null\n",
    "rm": 'case "$*" in *policy-rc.d*) ;; *) exec /bin/rm "$@" ;; esac\n',
    "chmod": "exit 0\n",
}
BASE = ("python3-venv", "python3-dev", "gcc", "libc6-dev", "libmilter-dev")


class Machine:
    """A machine on which every package manager is a fake; the Python environment is never reached."""

    def __init__(self, base: Path) -> None:
        self._base = base
        for name, text in FAKES.items():
            (base / name).write_text(f"#!/bin/sh\n{text}")
            (base / name).chmod(0o755)
        self.write("uid", "1000\n")
        self.write("installed", "")
        # Ends the script after its Debian packages.
        self.write("python", "")

    def write(self, name: str, text: str) -> None:
        (self._base / name).write_text(text)

    @property
    def calls(self) -> list[str]:
        """What apt-get was called with."""
        file = self._base / "calls"
        return file.read_text().splitlines() if file.exists() else []

    def setup(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        environment = os.environ | {
            "PATH": f"{self._base}:/usr/bin:/bin",
            "FAKES": str(self._base),
            "PHOENIXDKIM_PYTHON": str(self._base / "python"),
        }
        return subprocess.run(
            ["bash", ROOT / "scripts/setup", *arguments],
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
        )


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


@pytest.mark.parametrize(("uid", "prefix"), [("0", ""), ("1000", "sudo ")], ids=["root", "user"])
def test_missing_packages_are_listed_and_not_installed(machine: Machine, uid: str, prefix: str) -> None:
    machine.write("uid", uid)
    done = machine.setup("run")
    assert done.returncode == 1
    assert f"\n    {prefix}apt-get install --no-install-recommends {' '.join(BASE)}\n" in done.stderr
    assert "--install" in done.stderr
    assert machine.calls == []


def test_only_what_is_missing_is_listed(machine: Machine) -> None:
    machine.write("installed", "gcc \nlibc6-dev \npython3-dev \n")
    assert " python3-venv libmilter-dev\n" in machine.setup("run").stderr


@pytest.mark.parametrize("uid", ["0", "1000"], ids=["root", "sudo"])
def test_install_installs(machine: Machine, uid: str) -> None:
    machine.write("uid", uid)
    machine.setup("run", "--install")
    assert machine.calls == [
        "apt-get update -q",
        f"apt-get install -y -q --no-install-recommends {' '.join(BASE)}",
    ]


def test_install_without_root_and_sudo_prints_the_command(machine: Machine) -> None:
    machine.write("no-sudo", "")
    done = machine.setup("run", "--install")
    assert done.returncode == 1
    assert f"\n    sudo apt-get install --no-install-recommends {' '.join(BASE)}\n" in done.stderr
    assert machine.calls == []


@pytest.mark.parametrize("mta", ["exim4-daemon-light", "sendmail-bin", "nullmailer"])
def test_postfix_replaces_another_mta(machine: Machine, mta: str) -> None:
    machine.write("installed", f"{mta} mail-transport-agent\n")
    done = machine.setup("test")
    assert done.returncode == 1
    assert f"apt removes {mta}" in done.stderr
    assert " postfix " in done.stderr
    assert "Postfix" not in machine.setup("run").stderr


def test_help_and_unknown_arguments_change_nothing(machine: Machine) -> None:
    assert "--install" in machine.setup("--help").stdout
    done = machine.setup("--instal")
    assert (done.returncode, machine.calls) == (2, [])
    assert "--instal'" in done.stderr
