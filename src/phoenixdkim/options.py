"""Option types for a plugin's TOML table.

A plugin's options are a subclass of ``Options``: a pydantic model, strict, frozen, refusing unknown keys. The core
checks the table together with its own, and reports all faults with file and line. A field's docstring is its
description in the manual; its bounds (``Field(ge=1)``) and what its validators say with ``ValueError`` are shown to the
administrator, so say what to write instead.

A subclass adds fields and may give ``interval`` another default; its type and bounds, ``strict``, ``frozen`` and
``extra`` stay as they are, or the plugin is refused. So is a subclass that declares a field of ``ProcessOptions``: the
core reads those before any code of the plugin runs, and its own defaults hold.

Stability: see ``phoenixdkim.events``. Common options may be added within an API version; a field of a subclass with the
same name goes before a new one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field


class ProcessOptions(BaseModel):
    """Options that the core reads from each ``[exporters.NAME]`` table before any code of the plugin runs."""

    model_config = ConfigDict(
        strict=True, frozen=True, extra="forbid", validate_default=True, use_attribute_docstrings=True
    )

    type: str = ""
    """Entry point of group ``phoenixdkim.exporters``; empty: the table's own name."""
    user: str = ""
    """User, by name or number, that the exporter's process runs as when the daemon is started as root; no two exporters
    may have one user. Empty: the user ``phoenixdkim-NAME`` if it exists, else an id from ``process.exporter_uids``. The
    process has the user's primary group and no other."""
    memory_limit: int = Field(default=256, ge=32, le=65536)
    """Memory of the exporter's process, in MiB of data above what the interpreter has before it imports the plugin.
    Shared memory, page cache and child processes are not covered; the service's MemoryMax covers those."""
    stop_timeout: float = Field(default=2.0, ge=0.1, le=60)
    """Seconds that the exporter has for its last tick and stop; when the daemon stops, not more than its own
    ``milter.stop_timeout`` leaves."""


def process_options(table: Mapping[str, object]) -> ProcessOptions:
    """Read the core's options of a table, whatever else is in it.

    Raises:
        ValidationError: one has the wrong type or is out of bounds.
    """
    return ProcessOptions.model_validate({name: table[name] for name in ProcessOptions.model_fields if name in table})


class Options(ProcessOptions):
    """Base of every exporter's options; these fields exist in each ``[exporters.NAME]`` table.

    A subclass may give ``interval`` another default. Set ``wants_samples`` on the class when the exporter sends single
    measured values: raw durations are kept in a ring for it, and only then.
    """

    wants_samples: ClassVar[bool] = False

    interval: float = Field(default=15.0, ge=0.1, le=3600)
    """Seconds between two ticks."""


@dataclass(frozen=True, slots=True)
class HostPort:
    """A host name or address with a port."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_host_port(text: str) -> HostPort:
    """Read ``host:port``; an IPv6 address stands in brackets.

    Raises:
        ValueError: it is neither; the message says what to write.
    """
    host, colon, port = text.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise ValueError(f"{text!r}: an IPv6 address stands in brackets, as in '[::1]:8125'")
    if not colon or not host:
        raise ValueError(f"{text!r}: write host:port, as in '127.0.0.1:8125' or '[::1]:8125'")
    if not (port.isascii() and port.isdigit() and len(port) <= 5 and 0 < int(port) < 65536):
        raise ValueError(f"{text!r}: '{port}' is no port; 1 to 65535")
    if not host.isprintable() or any(c in " /\\%" for c in host):
        raise ValueError(f"{text!r}: '{host}' is no host name or address")
    return HostPort(host, int(port))


def _host_port(text: str) -> str:
    parse_host_port(text)
    return text


def _absolute_path(text: str) -> str:
    if not text.startswith("/") or "\0" in text or text.endswith("/"):
        raise ValueError(f"{text!r}: write the absolute path of a file, as in '/var/lib/name/file'")
    return text


HostPortText = Annotated[str, AfterValidator(_host_port)]
"""A string option of the form ``host:port``; read it with ``parse_host_port``."""

AbsolutePath = Annotated[str, AfterValidator(_absolute_path)]
"""A string option that is the absolute path of a file."""
