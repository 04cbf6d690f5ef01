"""Packages that are merely installed: none of their code runs, and damaged metadata stops nothing."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
import venv
from collections.abc import Iterator
from pathlib import Path

import pytest

from daemon.house import House, signed
from exporters.test_packages import damage, package

PLANTED = """
import os, sys
name = f"{os.getpid()}-{__name__}"
with open(os.path.join(%r, name), "w") as marker:
    marker.write(open("/proc/self/cmdline").read())
def plugin(*args, **kwargs): ...
class Plugin: ...
"""
GROUPS = ("pydantic", "pluggy", "phoenixdkim", "dns", "cryptography", "console_scripts", "opentelemetry_configurator")
OPTIONAL = (
    # What libraries of ours would import if it were installed.
    "httpx", "httpx2", "httpcore", "httpcore2", "h2", "trio", "anyio", "sniffio", "aioquic", "wmi", "curio",
    "email_validator", "rich", "hypothesis", "dotenv", "orjson", "simplejson", "pkg_resources", "setuptools",
    "devtools", "eval_type_backport", "logfire", "importlib_metadata", "exceptiongroup", "tomli", "Crypto", "nacl",
    "bcrypt", "idna", "uvloop", "coverage_enable_subprocess",
)  # fmt: skip

LIBRARIES = ("bcrypt", "idna")
"""What cryptography and dnspython import by name, as docs/architecture.md says."""


@pytest.fixture(scope="module")
def site() -> Iterator[Path]:
    """A virtual environment of its own with ours behind it; yields its site-packages."""
    base = Path(tempfile.mkdtemp(prefix="pdkim-site-"))
    base.chmod(0o755)
    venv.create(base / "venv", symlinks=True)
    own = Path(sysconfig.get_path("purelib", vars={"base": str(base / "venv")}))
    markers = base / "markers"
    markers.mkdir()
    markers.chmod(0o777)
    for name in ("planted", *OPTIONAL):
        (own / f"{name}.py").write_text(PLANTED % str(markers))
        package(own, f"{name}-99.dist-info", f"Metadata-Version: 2.1\nName: {name}\nVersion: 99\n".encode())
    points = "".join(f"[{group}]\nplanted = planted:plugin\n" for group in GROUPS)
    (own / "planted-99.dist-info" / "entry_points.txt").write_text(points)
    # Last, so that what is planted comes first on the path.
    (own / "zz.pth").write_text(f"import site; site.addsitedir({sysconfig.get_path('purelib')!r})\n")
    script = base / "venv" / "bin" / "phoenixdkim"
    script.write_text(f"#!{base}/venv/bin/python\nimport sys\nfrom phoenixdkim.cli import main\nsys.exit(main())\n")
    script.chmod(0o755)
    yield own
    for one in own.glob("a_*"):
        one.chmod(0o755)
    shutil.rmtree(base)


@pytest.fixture(scope="module")
def damaged(site: Path) -> None:
    """Adds packages whose metadata is damaged."""
    damage(site)


@pytest.fixture
def interpreter(site, monkeypatch):
    """Its interpreter, which the daemon's processes then have too."""
    python = site.parents[2] / "bin" / "python"
    monkeypatch.setattr(sys, "executable", str(python))
    monkeypatch.delenv("PYDANTIC_DISABLE_PLUGINS", raising=False)
    yield str(python)


def markers(site: Path) -> list[str]:
    """Modules of planted packages that were imported, and by which process."""
    found = []
    for one in sorted((site.parents[3] / "markers").iterdir()):
        if one.name.partition("-")[2] not in LIBRARIES:
            found.append(f"{one.name}: {one.read_text()}")
        one.unlink()
    return found


def test_the_planted_plugin_would_run(site, interpreter):
    subprocess.run([interpreter, "-c", "import pydantic\nclass X(pydantic.BaseModel): ..."], check=False)
    assert any("planted" in one for one in markers(site)), "pydantic loads it, unless it is told not to"


@pytest.mark.parametrize(
    "words", [["metrics"], ["check", "--sample"], ["check", "--schema"], ["verify", "--help"], ["sign", "--help"]]
)
def test_commands_run_nothing_of_it(site, damaged, interpreter, words):
    environment = {name: value for name, value in os.environ.items() if name != "PYDANTIC_DISABLE_PLUGINS"}
    ran = subprocess.run(
        [interpreter, "-c", "from phoenixdkim.cli import main; raise SystemExit(main())", *words],
        capture_output=True,
        env=environment | {"PYDANTIC_DISABLE_PLUGINS": "other"},
        check=False,
    )
    assert (ran.returncode, ran.stderr) == (0, b"")
    assert markers(site) == []


TABLES = """
[exporters.textfile]
path = "{metrics}/x.prom"
interval = 0.2
[exporters.statsd]
address = "127.0.0.1:9"
"""


@pytest.mark.daemon
def test_daemon_and_check_run_nothing_of_it_and_mind_no_damage(site, damaged, interpreter, key):
    house = House(key, exporters=TABLES)
    check = subprocess.run(
        [Path(interpreter).with_name("phoenixdkim"), "check", "-c", house.config], capture_output=True, check=False
    )
    assert check.returncode == 0, check.stderr
    with house:
        assert signed(house.send())
        path = house.metrics / "x.prom"
        deadline = time.monotonic() + 60
        while not path.exists() or 'exporter_up{exporter="textfile"} 1' not in path.read_text():
            assert time.monotonic() < deadline, house.log()
            time.sleep(0.05)
        lines = house.descendants().values()
        assert any(interpreter in line and "exporters.process" in line for line in lines), "it is this site's"
        assert house.stop() == 0
        assert "Traceback" not in house.log()
    assert markers(site) == []


@pytest.mark.daemon
def test_an_exporter_with_damaged_metadata_is_named_and_nothing_else_is_stopped(site, damaged, interpreter, key):
    house = House(key, exporters=TABLES + '[exporters.mine]\ntype = "mine"\n')
    check = subprocess.run(
        [Path(interpreter).with_name("phoenixdkim"), "check", "-c", house.config], capture_output=True, check=False
    )
    house.close()
    assert check.returncode == 78
    assert b"no installed package has an exporter 'mine'" in check.stderr
    assert b"cannot read the metadata in " in check.stderr
    assert b"Traceback" not in check.stderr
