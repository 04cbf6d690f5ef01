"""A receiver of OTLP over HTTP that keeps the last value of each series."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.metrics.v1.metrics_pb2 import AGGREGATION_TEMPORALITY_CUMULATIVE, Metric

Labels = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Point:
    """A data point: of a histogram counts, bounds and sum, else the value."""

    start: int
    at: int
    value: float
    counts: tuple[int, ...] = ()
    bounds: tuple[float, ...] = ()
    extremes: bool = False


@dataclass(frozen=True)
class Seen:
    """A metric as it came."""

    name: str
    unit: str
    help: str
    kind: str
    points: Mapping[Labels, Point]


class Collector:
    """Listens on a free port of loopback; ``status`` is what it answers with."""

    def __init__(self) -> None:
        self.metrics: dict[str, Seen] = {}
        self.resource: dict[str, str] = {}
        self.headers: dict[str, str] = {}
        self.requests = 0
        self.status = 200
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                data = self.rfile.read(int(self.headers["Content-Length"]))
                if self.headers.get("Content-Encoding") == "gzip":
                    data = gzip.decompress(data)
                outer.headers = {name.lower(): value for name, value in self.headers.items()}
                if outer.status == 200:
                    outer.take(self.path, data)
                self.send_response(outer.status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                return

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()

    @property
    def endpoint(self) -> str:
        """Its URL."""
        return f"http://127.0.0.1:{self._server.server_port}/v1/metrics"

    def close(self) -> None:
        """End; may be called twice."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def take(self, path: str, data: bytes) -> None:
        """Decode one request."""
        assert path == "/v1/metrics"
        request = ExportMetricsServiceRequest.FromString(data)
        (resource,) = request.resource_metrics
        self.resource = {a.key: a.value.string_value for a in resource.resource.attributes}
        (scope,) = resource.scope_metrics
        assert scope.scope.name == "phoenixdkim_otlp"
        found = {metric.name: _seen(metric) for metric in scope.metrics}
        assert len(found) == len(scope.metrics), "each metric once"
        self.metrics = found
        self.requests += 1


def _seen(metric: Metric) -> Seen:
    kind = metric.WhichOneof("data")
    assert kind is not None
    body = getattr(metric, kind)
    if kind != "gauge":
        assert body.aggregation_temporality == AGGREGATION_TEMPORALITY_CUMULATIVE
    assert kind != "sum" or body.is_monotonic
    points: dict[Labels, Point] = {}
    for point in body.data_points:
        labels = tuple((a.key, a.value.string_value) for a in point.attributes)
        assert labels not in points, "each series once"
        if kind == "histogram":
            assert sum(point.bucket_counts) == point.count
            points[labels] = Point(
                point.start_time_unix_nano,
                point.time_unix_nano,
                point.sum,
                tuple(point.bucket_counts),
                tuple(point.explicit_bounds),
                point.HasField("min") or point.HasField("max"),
            )
        else:
            value = point.as_int if point.WhichOneof("value") == "as_int" else point.as_double
            points[labels] = Point(point.start_time_unix_nano, point.time_unix_nano, value)
    return Seen(metric.name, metric.unit, metric.description, kind, points)
