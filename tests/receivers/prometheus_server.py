"""A real Prometheus on loopback: scrapes, evaluates rules, answers queries."""

from __future__ import annotations

import json
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Self

CONFIG = """\
global:
  scrape_interval: 1s
  scrape_timeout: 1s
  evaluation_interval: 1s
rule_files: {rules}
scrape_configs:
  - job_name: phoenixdkim
    static_configs:
      - targets: {targets}
"""


class Prometheus:
    """The server; a context manager that is left when it has ended.

    Args:
        directory: for its data, configuration and log.
        port: to listen on.
        targets: what it scrapes each second, ``host:port``.
        rules: rule files.
    """

    def __init__(self, directory: Path, port: int, targets: Sequence[str], rules: Sequence[Path] = ()) -> None:
        self._url = f"http://127.0.0.1:{port}/api/v1"
        self._log = directory / "prometheus.log"
        config = directory / "prometheus.yml"
        config.write_text(CONFIG.format(rules=json.dumps([str(path) for path in rules]), targets=json.dumps(targets)))
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [
                    "prometheus",
                    f"--config.file={config}",
                    f"--storage.tsdb.path={directory / 'data'}",
                    f"--web.listen-address=127.0.0.1:{port}",
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def __enter__(self) -> Self:
        try:
            self.wait_until(self.ready)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def ready(self) -> bool:
        assert self._process.poll() is None, self._log.read_text()
        try:
            return bool(self.get("targets")["activeTargets"])
        except (OSError, ValueError):
            return False

    def get(self, path: str, **parameters: str) -> Any:
        """What the API answers; a query that it refuses is a ``ValueError`` with its words."""
        url = f"{self._url}/{path}?{urllib.parse.urlencode(parameters)}"
        try:
            with urllib.request.urlopen(url, timeout=30) as answer:
                return json.load(answer)["data"]
        except urllib.error.HTTPError as error:
            with error:
                raise ValueError(error.read().decode()) from None

    def query(self, expression: str) -> list[tuple[dict[str, str], float]]:
        """Labels and value of each element that an expression has now."""
        found = self.get("query", query=expression)
        if found["resultType"] == "scalar":
            return [({}, float(found["result"][1]))]
        return [(element["metric"], float(element["value"][1])) for element in found["result"]]

    def names(self) -> set[str]:
        """Names of all metrics that it has."""
        return set(self.get("label/__name__/values"))

    def wait_until(self, done: Callable[[], bool], timeout: float = 60) -> None:
        deadline = time.monotonic() + timeout
        while not done():
            assert time.monotonic() < deadline, self._log.read_text()[-3000:]
            time.sleep(0.1)
