"""A real OpenTelemetry Collector, and a receiver of OTLP that keeps what it sends."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self

from receivers.programs import Program

ROOT = Path(__file__).parents[2]
CONTRIB = ROOT / "contrib" / "otelcol"
CUMULATIVE = 2
"""AggregationTemporality of OTLP's running totals."""

Labels = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Point:
    """One data point: ``value`` of a sum or gauge, or a histogram's ``count``, ``total``, ``bounds`` and ``counts``."""

    kind: str
    value: float = 0.0
    count: int = 0
    total: float = 0.0
    bounds: tuple[float, ...] = ()
    counts: tuple[int, ...] = ()
    monotonic: bool = False
    cumulative: bool = False


class OtlpReceiver:
    """Takes OTLP over HTTP as JSON on a free loopback port; keeps the last point of each series."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._points: dict[tuple[str, Labels], Point] = {}
        self.fallen: list[str] = []
        """Counters whose value fell."""
        self.resources: set[Labels] = set()
        self.taken = 0
        """Messages that came."""
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                receiver._take(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", "2")
                self.end_headers()
                self.wfile.write(b"{}")

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _take(self, message: dict[str, Any]) -> None:
        with self._lock:
            self.taken += 1
            for resource in message.get("resourceMetrics", []):
                self.resources.add(_labels(resource.get("resource", {}).get("attributes", [])))
                for scope in resource.get("scopeMetrics", []):
                    for metric in scope.get("metrics", []):
                        self._metric(metric)

    def _metric(self, metric: dict[str, Any]) -> None:
        kind = next(kind for kind in ("sum", "gauge", "histogram", "exponentialHistogram", "summary") if kind in metric)
        body = metric[kind]
        for found in body.get("dataPoints", []):
            key = (metric["name"], _labels(found.get("attributes", [])))
            point = Point(
                kind,
                value=float(found.get("asDouble", found.get("asInt", 0))),
                count=int(found.get("count", 0)),
                total=float(found.get("sum", 0)),
                bounds=tuple(map(float, found.get("explicitBounds", []))),
                counts=tuple(map(int, found.get("bucketCounts", []))),
                monotonic=body.get("isMonotonic", False),
                cumulative=body.get("aggregationTemporality") == CUMULATIVE,
            )
            before = self._points.get(key)
            if before is not None and kind != "gauge" and (point.value < before.value or point.count < before.count):
                self.fallen.append(f"{key}: {before} then {point}")
            self._points[key] = point

    def points(self) -> dict[tuple[str, Labels], Point]:
        """The last point of each series by name and attributes."""
        with self._lock:
            return dict(self._points)


def _labels(attributes: list[dict[str, Any]]) -> Labels:
    return tuple(sorted((entry["key"], str(next(iter(entry["value"].values())))) for entry in attributes))


class Collector(Program):
    """The Collector with one of the configurations of ``contrib/otelcol``, as it stands there.

    Args:
        configuration: file name.
        environment: the addresses that the file leaves open.
        settings: what else is set otherwise, ``a::b`` to value: the Collector's own ``--set``.
    """

    def __init__(self, configuration: str, environment: Mapping[str, str], settings: Mapping[str, str]) -> None:
        binary = os.environ.get("PHOENIXDKIM_OTELCOL", "")
        assert binary, "PHOENIXDKIM_OTELCOL names no Collector; run: scripts/test --only collector"
        given = {"exporters::otlp_http::encoding": "json", "exporters::otlp_http::compression": "none", **settings}
        super().__init__(
            [
                "env",
                *(f"{name}={value}" for name, value in environment.items()),
                binary,
                f"--config=file:{CONTRIB / configuration}",
                *(f"--set={name}={value}" for name, value in given.items()),
            ],
            lambda program: "Everything is ready" in program.output(),
        )
