"""Users of exporters as the configuration file has them: the rules, and what is wrong with them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping

from pydantic import ValidationError

from phoenixdkim.config.exporter_tables import Found
from phoenixdkim.config.faults import Severity
from phoenixdkim.config.model import Config, Process
from phoenixdkim.exporters.users import Rules, assign, parse_uids


def rules_of(process: Process) -> Rules:
    """What decides which users exporters get."""
    return Rules(process.user, parse_uids(process.exporter_uids))


def rules_of_table(process: object) -> Rules:
    """The same for a table as it was read; the defaults if it does not fit the model."""
    try:
        return rules_of(Process.model_validate({} if process is None else process))
    except ValidationError:
        return rules_of(Process())


def user_options(exporters: Mapping[str, object]) -> dict[str, str]:
    """The option ``user`` of each table; one that is not text is a fault of its own, and empty here."""
    tables = {name: table for name, table in exporters.items() if isinstance(table, dict)}
    return {name: user if isinstance(user := table.get("user"), str) else "" for name, table in tables.items()}


def user_faults(config: Config, *, root: bool) -> Iterator[Found]:
    """Exporters that cannot have a user of their own.

    Args:
        config: the checked configuration.
        root: whether the daemon is started as root; otherwise no exporter has a user of its own.
    """
    if root:
        for fault in assign(user_options(config.exporters), rules_of(config.process))[1]:
            yield ("exporters", fault.exporter, *(("user",) if fault.option else ())), fault.message, Severity.ERROR
    elif config.exporters:
        yield (
            ("exporters", next(iter(config.exporters))),
            f"exporters are not isolated: without root all processes run as user id {os.geteuid()}, so an exporter can"
            " signal the daemon and other exporters, and read the key files; start the daemon as root, and each"
            " exporter gets a user of its own",
            Severity.WARNING,
        )
