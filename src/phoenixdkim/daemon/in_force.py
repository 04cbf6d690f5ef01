"""The configuration in force, as the supervisor keeps it."""

from __future__ import annotations

from dataclasses import dataclass, replace

from phoenixdkim.config.summary import Summary
from phoenixdkim.daemon.messages import Settings
from phoenixdkim.exporters.users import Rules, parse_uids


@dataclass(frozen=True, slots=True)
class InForce:
    """The configuration in force.

    Attributes:
        data: the file's octets as they were read.
        summary: what it is.
        settings: what the supervisor needs of it.
        workers: how many it has.
        identities: what the files were that its leader read: keys, and the zone.
    """

    data: bytes
    summary: Summary
    settings: Settings
    workers: int
    identities: bytes


def exporter_rules(settings: Settings) -> Rules:
    """Return what decides whose processes exporters are."""
    return Rules(settings.user, parse_uids(settings.exporter_uids))


def with_fixed(old: Settings, new: Settings) -> tuple[Settings, list[str]]:
    """Return the new settings with those that only a restart changes as they were, and a warning for each."""
    warnings = [
        f"{option} has changed; restart the daemon to use it{where}"
        for option, where, before, after in (
            ("milter.socket", "", old.socket, new.socket),
            ("milter.socket_mode", "", old.socket_mode, new.socket_mode),
            ("milter.socket_group", "", old.socket_group, new.socket_group),
            ("control.socket", "", old.control_socket, new.control_socket),
            ("[log]", " for the supervisor too", old.log, new.log),
        )
        if before != after
    ]
    fixed = replace(
        new,
        socket=old.socket,
        socket_mode=old.socket_mode,
        socket_group=old.socket_group,
        control_socket=old.control_socket,
        log=old.log,
    )
    return fixed, warnings
