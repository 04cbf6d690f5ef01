"""``phoenixdkim check``: configuration, keys and exporters, without starting anything."""

from __future__ import annotations

import argparse
import json
import os
import sys
from functools import partial
from typing import Final

from phoenixdkim.cli import DEFAULT_CONFIG
from phoenixdkim.cli.comparison import compare
from phoenixdkim.cli.environment import environment_faults
from phoenixdkim.cli.postfix import reinjection_faults
from phoenixdkim.cli.running import supervisor_of
from phoenixdkim.config.effective import effective
from phoenixdkim.config.faults import Fault, dotted
from phoenixdkim.config.key_check import check_parts
from phoenixdkim.config.load import Loaded, read
from phoenixdkim.config.model import Config
from phoenixdkim.config.sample import sample
from phoenixdkim.config.schema import schema_text
from phoenixdkim.daemon.control_client import Unreachable, control_path, request_status
from phoenixdkim.exporters.check import check_tables

NAME: Final = "check"
HELP: Final = (
    "Check the configuration file, the private keys that it names, its exporters, and what they need of this host. All"
    " faults are reported in one run, each with file, line, option and what to write instead. Exit status 0 when the"
    " daemon would start, 78 when not. With warnings alone it is 0, and the last line says 'accepted', not 'good'."
    " If a daemon is running, also print what a reload would change, and whether it would be refused."
)
EXIT_CONFIG: Final = 78


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument(
        "-c", "--config", default=DEFAULT_CONFIG, metavar="FILE", help="configuration file (default: %(default)s)"
    )
    parser.add_argument(
        "-v", "--verbose", action="store_true", help="also say when no running daemon was reached to compare with"
    )
    shape = parser.add_mutually_exclusive_group()
    shape.add_argument("--effective", action="store_true", help="print the whole configuration in force, as TOML")
    shape.add_argument("--json", action="store_true", help="print the faults as JSON")
    shape.add_argument("--schema", action="store_true", help="print the JSON Schema of the file, for editors")
    shape.add_argument("--sample", action="store_true", help="print a file with all options and their defaults")


def check(path: str) -> tuple[Loaded, tuple[Fault, ...]]:
    """All faults of a file, its keys and its exporters."""
    root = os.geteuid() == 0
    supervisor = _supervisor(path)
    loaded = read(path, partial(check_tables, supervisor=supervisor, environment=True))
    faults = list(loaded.faults)
    # Keys and users are looked at even when other parts have faults: everything is told at once.
    faults += check_parts(loaded, uid_is_root=root)
    if loaded.config is not None:
        faults += reinjection_faults(loaded)
        faults += environment_faults(loaded, supervisor)
    return loaded, tuple(sorted(dict.fromkeys(faults), key=lambda fault: fault.line))


def _supervisor(path: str) -> int:
    """Return the pid of the daemon that runs with this file; 0 if there is none, or it cannot be found."""
    if os.geteuid() == 0 and (found := supervisor_of(path)):
        return found
    try:
        return request_status(control_path(read(path, None))).pid
    except Unreachable:
        return 0


def run(args: argparse.Namespace) -> int:
    """Do it; returns the exit status."""
    if args.schema:
        sys.stdout.write(schema_text())
        return 0
    if args.sample:
        sys.stdout.write(sample())
        return 0
    loaded, faults = check(args.config)
    errors = sum(fault.is_error for fault in faults)
    if args.json:
        entries = [
            {
                "file": fault.file,
                "line": fault.line,
                "path": dotted(fault.path),
                "severity": str(fault.severity),
                "message": fault.message,
            }
            for fault in faults
        ]
        report: dict[str, object] = {"ok": not errors, "faults": entries}
        if not errors and (found := compare(loaded)).pid:
            report["running"] = {"pid": found.pid, "changes": found.changes, "refused": list(found.objections)}
        print(json.dumps(report, indent=2, ensure_ascii=False))
        return EXIT_CONFIG if errors else 0
    for fault in faults:
        print(fault, file=sys.stderr)
    if errors:
        print(
            f"phoenixdkim: {errors} {'fault' if errors == 1 else 'faults'}; the daemon would not start", file=sys.stderr
        )
        return EXIT_CONFIG
    assert loaded.config is not None
    if args.effective:
        sys.stdout.write(effective(loaded.config))
    else:
        print(_good(args.config, loaded.config, len(faults)))
        comparison = compare(loaded)
        if comparison.pid or args.verbose:
            print("\n".join(comparison.lines()))
    return 0


def _good(path: str, config: Config, warnings: int) -> str:
    signing = len(config.signing.rules) if config.signing.enabled else 0
    parts = [
        f"{signing} signing {'rule' if signing == 1 else 'rules'} with {len(config.keys)} "
        f"{'key' if len(config.keys) == 1 else 'keys'}",
        "incoming mail is verified" if config.verifying.enabled else "incoming mail is not verified",
        f"exporters: {', '.join(config.exporters) or 'none'}",
    ]
    counted = f"{warnings} {'warning' if warnings == 1 else 'warnings'}"
    verdict = f"accepted with {counted}, see above" if warnings else "good"
    lines = [f"{path}: {verdict}. {'; '.join(parts)}."]
    if os.geteuid() != 0:
        lines.append(
            f"Checked as user id {os.geteuid()}. If root starts the daemon, check as root too: only then are"
            " process.user, the users of exporters, and what these may read and write looked at."
        )
    return "\n".join(lines)
