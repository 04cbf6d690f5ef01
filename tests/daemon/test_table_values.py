"""``check``, ``run`` and a reload say the same about values that an exporter's table cannot have."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from daemon.house import House, signed

VALUES = (
    "2024-01-01",
    "[1, 07:32:00]",
    "{a = {b = 2024-01-01T00:00:00Z}}",
    "inf",
    "nan",
    "9" * 5000,
    "0x" + "f" * 6000,
)


@pytest.mark.daemon
@pytest.mark.parametrize("value", VALUES, ids=[value[:16] for value in VALUES])
def test_check_and_run_agree(key, value):
    house = House(
        key,
        exporters=f'[exporters.textfile]\npath = "{{metrics}}/x.prom"\n#\ninterval = {value}\n'.replace(
            "{a = {b = 2024-01-01T00:00:00Z}}", "{{a = {{b = 2024-01-01T00:00:00Z}}}}"
        ),
    )
    try:
        line = next(n for n, text in enumerate(house.text.splitlines(), 1) if text.startswith("interval"))
        said = []
        for command in ("check", "run"):
            ran = subprocess.run(
                [Path(sys.executable).with_name("phoenixdkim"), command, "-c", house.config],
                capture_output=True,
                check=False,
                timeout=60,
            )
            assert ran.returncode == 78
            assert b"Traceback" not in ran.stderr
            said.append([text for text in ran.stderr.decode().splitlines() if f"toml:{line}: " in text])
        assert said[0] == said[1] != []
    finally:
        house.close()


@pytest.mark.daemon
def test_a_reload_with_such_a_value_is_refused(key):
    with House(key) as house:
        house.config.write_text(house.text + "[exporters.http]\nwhen = 2024-01-01\n")
        house.signal(signal.SIGHUP)
        house.wait_for("exporters.http.when: a date is not accepted; write it as text in quotes")
        house.wait_for("reload refused")
        assert signed(house.send())
