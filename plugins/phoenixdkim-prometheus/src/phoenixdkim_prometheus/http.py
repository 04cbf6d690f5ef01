"""Exporter ``http``: a port that Prometheus scrapes.

One thread serves all connections from a selector loop, so that clients that are slow, silent or hostile cost a
descriptor and a few octets each, for a bounded time. It is a metrics port, not a public API: no TLS and no
authentication. It listens on loopback unless told otherwise, and the daemon warns of an address that can be reached
from elsewhere; a reverse proxy does the rest.
"""

from __future__ import annotations

import errno
import ipaddress
import selectors
import socket
import threading
import time
from dataclasses import dataclass, field
from typing import Annotated, Final

from pydantic import AfterValidator, BeforeValidator, Field

from phoenixdkim.hookspecs import Context, Finding, hookimpl
from phoenixdkim.metrics import Kind, MetricSpec
from phoenixdkim.options import HostPort, HostPortText, Options, parse_host_port
from phoenixdkim_prometheus.families import Exposition
from phoenixdkim_prometheus.requests import FAILED, MAX_REQUEST, Answer, answer, head_of

_BACKLOG: Final = 128
_POLL: Final = 0.25

FAILURES: Final = MetricSpec(
    "phoenixdkim_exporter_http_bind_failures_total", Kind.COUNTER, "Times that an address could not be listened on."
)
REFUSED: Final = MetricSpec(
    "phoenixdkim_exporter_http_refused_total",
    Kind.COUNTER,
    "Connections ended without an answer: too slow, too many, or no request.",
)


def _several(value: object) -> object:
    return [value] if isinstance(value, str) else value


def _some(addresses: tuple[str, ...]) -> tuple[str, ...]:
    if not addresses:
        raise ValueError('an empty list; write for example ["127.0.0.1:9323"], or remove the table')
    return addresses


def _literal(text: str) -> str:
    host = parse_host_port(text).host
    try:
        ipaddress.ip_address(host)
    except ValueError:
        # To look a name up can take longer than a scrape may, and it may have other addresses tomorrow.
        raise ValueError(f"{host!r} is a name; write the address, as in '127.0.0.1:9323' or '[::1]:9323'") from None
    return text


Addresses = Annotated[
    tuple[Annotated[HostPortText, AfterValidator(_literal)], ...],
    Field(strict=False),
    BeforeValidator(_several),
    AfterValidator(_some),
]


class HttpOptions(Options):
    """Table of the HTTP exporter."""

    listen: Addresses = ("127.0.0.1:9323",)
    """Address and port to listen on, or a list of such: "127.0.0.1:9323", "[::1]:9323". An IPv6 address is for IPv6
    only, "[::]" too: for all addresses of both kinds write ["0.0.0.0:9323", "[::]:9323"]."""
    beside_textfile: bool = False
    """Says that one Prometheus does not read both this and a textfile that is enabled too: no warning about it."""
    interval: float = Field(default=5.0, ge=0.1, le=3600)
    """Seconds between two tries of an address that could not be listened on."""
    max_connections: int = Field(default=64, ge=1, le=512)
    """Connections at once; with one more the oldest is closed."""
    timeout: float = Field(default=5.0, ge=0.1, le=60)
    """Seconds that a connection has, from its start to the last octet of the answer."""


@dataclass(slots=True, eq=False)
class _Connection:
    socket: socket.socket
    deadline: float
    request: bytearray = field(default_factory=bytearray)
    answer: memoryview | None = None
    draining: bool = False


class HttpExporter:
    """Serves the exposition at ``/metrics``."""

    api_version = 1

    def __init__(self) -> None:
        self._context: Context | None = None
        self._exposition: Exposition | None = None
        self._selector: selectors.DefaultSelector | None = None
        self._thread: threading.Thread | None = None
        self._listeners: dict[HostPort, socket.socket | None] = {}
        self._failing: dict[HostPort, str] = {}
        self._connections: list[_Connection] = []
        self._ending = False
        self._failed: Exception | None = None

    @hookimpl
    def phoenixdkim_options(self) -> type[Options]:
        """The options' class."""
        return HttpOptions

    @hookimpl
    def phoenixdkim_metrics(self) -> list[MetricSpec]:
        """The exporter's own metrics."""
        return [FAILURES, REFUSED]

    @hookimpl
    def phoenixdkim_check(self, options: HttpOptions) -> list[Finding]:
        """Try to bind each address."""
        found = []
        for text in options.listen:
            try:
                _bound(parse_host_port(text)).close()
            except OSError as error:
                used = text if error.errno == errno.EADDRINUSE else ""
                found.append(Finding(f"cannot listen on {text}: {_reason(error)}", used))
        return found

    @hookimpl
    def phoenixdkim_start(self, context: Context) -> None:
        """Listen and serve. An address that can't be had is tried again at each tick."""
        self._context = context
        self._exposition = Exposition(context.snapshot)
        self._selector = selectors.DefaultSelector()
        self._listeners = dict.fromkeys(map(parse_host_port, context.options.listen), None)
        self._bind()
        self._thread = threading.Thread(target=self._serve, name="http", daemon=True)
        self._thread.start()

    @hookimpl
    def phoenixdkim_tick(self, now: float) -> None:
        """Try again what could not be listened on."""
        self._bind()
        failed, self._failed = self._failed, None
        if failed is not None:
            raise failed

    @hookimpl
    def phoenixdkim_stop(self, deadline: float) -> None:
        """Stop serving."""
        self._ending = True
        if self._thread is not None:
            self._thread.join(max(0.0, deadline - time.monotonic()))

    def _bind(self) -> None:
        context, selector = self._context, self._selector
        assert context is not None and selector is not None
        for address, bound in self._listeners.items():
            if bound is not None:
                continue
            try:
                made = _listen(address)
            except OSError as error:
                context.add(FAILURES)
                reason = error.strerror or str(error)
                if self._failing.get(address) != reason:
                    self._failing[address] = reason
                    context.log.error("%s can't be listened on: %s; tried again", address, reason)
                continue
            self._listeners[address] = made
            selector.register(made, selectors.EVENT_READ, None)
            if self._failing.pop(address, None):
                context.log.info("%s is listened on now", address)

    # The serving thread.

    def _serve(self) -> None:
        selector = self._selector
        assert selector is not None
        while not self._ending:
            try:
                self._turn(selector)
            except Exception as error:  # noqa: BLE001 - as in _advance; this thread has to outlive whatever it was
                self._failed = error
                time.sleep(_POLL)
        for connection in list(self._connections):
            self._close(connection)
        for bound in self._listeners.values():
            if bound is not None:
                bound.close()

    def _turn(self, selector: selectors.DefaultSelector) -> None:
        for key, _ in selector.select(_POLL):
            if key.data is None:
                assert isinstance(key.fileobj, socket.socket)
                self._accept(key.fileobj)
            else:
                self._advance(key.data)
        now = time.monotonic()
        for connection in [c for c in self._connections if c.deadline < now]:
            self._refuse(connection)

    def _accept(self, listener: socket.socket) -> None:
        assert self._context is not None and self._selector is not None
        try:
            accepted, _ = listener.accept()
        except OSError:
            # Gone again, or no descriptor free: the next turn tries anew, after those that time out.
            time.sleep(0.01)
            return
        accepted.setblocking(False)
        options = self._context.options
        if len(self._connections) >= options.max_connections:
            # The oldest, whatever it does: a scrape takes milliseconds, and was then begun after those that stay long.
            self._refuse(self._connections[0])
        connection = _Connection(accepted, time.monotonic() + options.timeout)
        self._connections.append(connection)
        self._selector.register(accepted, selectors.EVENT_READ, connection)

    def _advance(self, connection: _Connection) -> None:
        try:
            if connection.answer is None:
                self._read(connection)
            elif connection.draining:
                self._drain(connection)
            else:
                self._write(connection)
        except BlockingIOError:
            return
        except OSError:
            self._close(connection)
        except Exception as error:  # noqa: BLE001 - one connection's failure is not the end of the port
            # Raised again at the next tick, where the host logs and counts it.
            self._failed = error
            self._close(connection)

    def _read(self, connection: _Connection) -> None:
        data = connection.socket.recv(MAX_REQUEST)
        connection.request += data
        if not connection.request:
            self._refuse(connection)
            return
        head = head_of(connection.request, ended=not data)
        if head is None:
            return
        made = head if isinstance(head, Answer) else self._answer(head)
        connection.answer = memoryview(made.encode(head=connection.request.startswith(b"HEAD ")))
        connection.request.clear()
        assert self._selector is not None
        self._selector.modify(connection.socket, selectors.EVENT_WRITE, connection)
        self._write(connection)

    def _answer(self, head: bytes) -> Answer:
        assert self._exposition is not None
        try:
            return answer(head, self._exposition.text, self._exposition.openmetrics)
        except Exception as error:  # noqa: BLE001 - as in _advance; this client can be told
            self._failed = error
            return FAILED

    def _write(self, connection: _Connection) -> None:
        assert connection.answer is not None and self._selector is not None
        connection.answer = connection.answer[connection.socket.send(connection.answer) :]
        if not connection.answer:
            # Closed with octets unread, the kernel would reset the connection and the answer with it.
            connection.draining = True
            connection.socket.shutdown(socket.SHUT_WR)
            self._selector.modify(connection.socket, selectors.EVENT_READ, connection)

    def _drain(self, connection: _Connection) -> None:
        if not connection.socket.recv(65536):
            self._close(connection)

    def _refuse(self, connection: _Connection) -> None:
        if not connection.draining and self._context is not None:
            self._context.add(REFUSED)
        self._close(connection)

    def _close(self, connection: _Connection) -> None:
        assert self._selector is not None
        if connection in self._connections:
            self._connections.remove(connection)
            self._selector.unregister(connection.socket)
            connection.socket.close()


def _reason(error: OSError) -> str:
    advice = {
        errno.EADDRINUSE: "; stop the program that uses it, or choose another port",
        errno.EADDRNOTAVAIL: "; this host does not have the address",
        errno.EACCES: "; ports below 1024 need a privilege that exporters do not have, choose another port",
        errno.EAFNOSUPPORT: "; IPv6 is disabled on this host",
    }
    return f"{error.strerror}{advice.get(error.errno or 0, '')}"


def _bound(address: HostPort) -> socket.socket:
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    made = socket.socket(family, socket.SOCK_STREAM)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        made.bind((address.host, address.port))
    except BaseException:  # whatever it is goes on; the socket must not stay open
        made.close()
        raise
    return made


def _listen(address: HostPort) -> socket.socket:
    made = _bound(address)
    try:
        made.listen(_BACKLOG)
        made.setblocking(False)
    except BaseException:  # as above
        made.close()
        raise
    return made
