"""What ``check`` can see of Postfix: mail that a content filter hands back to a service whose mail is signed.

Such mail comes from 127.0.0.1 whoever sent it. Where loopback is trusted, outsiders' mail is then signed as ours.
"""

from __future__ import annotations

import ipaddress
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from phoenixdkim.config.faults import Fault, Severity
from phoenixdkim.config.load import Loaded

_SECONDS: Final = 10.0
_PATH: Final = f"/usr/sbin:/usr/local/sbin:{os.defpath}"
_LOOPBACK: Final = (ipaddress.ip_address("127.0.0.1"), ipaddress.ip_address("::1"))
_LOCAL_NAMES: Final = ("127.", "localhost:", "[127.", "[::1]:", "::1:")
_FILTERS: Final = ("content_filter", "smtpd_proxy_filter")
_MAIN: Final = (*_FILTERS, "smtpd_milters", "non_smtpd_milters", "receive_override_options")

Postconf = Callable[[Sequence[str]], str]
"""Runs postconf with these arguments and returns its output; raises OSError if it cannot."""


@dataclass(frozen=True, slots=True)
class _Service:
    """A line of master.cf, with the parameters of main.cf as it overrides them."""

    name: str
    command: str
    parameters: Mapping[str, str]

    @property
    def has_filter(self) -> bool:
        return any(self.parameters[name] for name in _FILTERS)

    def milters(self, parameter: str) -> bool:
        return bool(self.parameters[parameter]) and "no_milters" not in self.parameters["receive_override_options"]


def run_postconf(arguments: Sequence[str]) -> str:
    """Run the installed postconf.

    Raises:
        OSError: there is none, or it failed.
    """
    program = shutil.which("postconf", path=_PATH)
    if program is None:
        raise FileNotFoundError("postconf")
    try:
        done = subprocess.run(
            [program, *arguments], stdin=subprocess.DEVNULL, capture_output=True, timeout=_SECONDS, check=True
        )
    except subprocess.SubprocessError as error:
        raise OSError(str(error)) from error
    return done.stdout.decode("utf-8", "replace")


def reinjection_faults(loaded: Loaded, postconf: Postconf = run_postconf) -> list[Fault]:
    """Return a warning for each service of Postfix that may make outsiders' mail look trusted.

    Nothing is found where Postfix is not installed or cannot be asked, and nothing is asked if loopback is not
    trusted, or ``signing.required_macros`` is set.
    """
    config = loaded.config
    if config is None or not config.signing.enabled or not config.signing.rules or config.signing.required_macros:
        return []
    networks = [ipaddress.ip_network(text) for text in config.signing.trusted]
    if not any(address in network for address in _LOOPBACK for network in networks):
        return []
    try:
        services = _services(postconf)
    except OSError:
        return []
    return [
        loaded.fault(
            ("signing", "trusted"),
            f"the Postfix service {name!r} takes mail back from a content filter and has milters: outsiders' mail then"
            f" comes from a trusted address and is signed as yours; {remedy}, or name the services whose mail is signed"
            " in signing.required_macros (docs/postfix.md)",
            Severity.WARNING,
        )
        for name, remedy in _exposed(services)
    ]


def _services(postconf: Postconf) -> list[_Service]:
    values = postconf(["-hx", *_MAIN]).split("\n")
    main = dict(zip(_MAIN, (value.strip() for value in [*values, *[""] * len(_MAIN)]), strict=False))
    overrides: dict[str, dict[str, str]] = {}
    for line in postconf(["-Px"]).splitlines():
        place, equals, value = line.partition("=")
        service, _, parameter = place.strip().rpartition("/")
        if equals and parameter in main:
            overrides.setdefault(service, {})[parameter] = value.strip()
    if not any(parameters.get(name) for parameters in (main, *overrides.values()) for name in _FILTERS):
        return []
    found = []
    for line in postconf(["-M"]).splitlines():
        columns = line.split()
        if len(columns) >= 8:
            name, kind, command = columns[0], columns[1], columns[7]
            found.append(_Service(name, command, main | overrides.get(f"{name}/{kind}", {})))
    return found


def _exposed(services: Sequence[_Service]) -> Iterator[tuple[str, str]]:
    """Yield names of services, and what to do about each."""
    filters = {service.parameters["content_filter"].partition(":")[0] for service in services if service.has_filter}
    if not filters:
        return
    for service in services:
        local = service.name.startswith(_LOCAL_NAMES)
        if service.command == "smtpd" and local and not service.has_filter and service.milters("smtpd_milters"):
            yield service.name, "set receive_override_options=no_milters for it"
        if service.command == "pickup" and service.milters("non_smtpd_milters"):
            pipes = {other.name for other in services if other.command == "pipe"}
            if filters & pipes:
                yield service.name, "let the filter hand mail back by SMTP, or leave non_smtpd_milters empty"
