"""A real Prometheus on loopback: scrapes, evaluates rules, answers queries."""

from __future__ import annotations

import json
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from receivers.programs import Program, fetch, free_port

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


class Prometheus(Program):
    """The server.

    Args:
        targets: what it scrapes each second, ``host:port``.
        rules: rule files.
    """

    def __init__(self, targets: Sequence[str], rules: Sequence[Path] = ()) -> None:
        url = f"http://127.0.0.1:{free_port()}"
        super().__init__(
            [
                "prometheus",
                "--config.file={home}/prometheus.yml",
                "--storage.tsdb.path={home}/data",
                f"--web.listen-address={url.removeprefix('http://')}",
                "--log.level=warn",
            ],
            lambda _: fetch(f"{url}/-/ready"),
            {
                "prometheus.yml": CONFIG.format(
                    rules=json.dumps([str(path) for path in rules]), targets=json.dumps(targets)
                )
            },
        )
        self._api = f"{url}/api/v1"

    def get(self, path: str, **parameters: str) -> Any:
        """What the API answers; a query that it refuses is a ``ValueError`` with its words."""
        try:
            with urllib.request.urlopen(
                f"{self._api}/{path}?{urllib.parse.urlencode(parameters)}", timeout=30
            ) as answer:
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
