"""The commands. Each is a module with ``NAME``, ``HELP``, ``add_arguments(parser)`` and ``run(args) -> int``."""

from __future__ import annotations

import argparse
import contextlib
import importlib
import sys
from collections.abc import Sequence
from typing import Final, Protocol, cast

from phoenixdkim import __version__, streams

COMMANDS: Final = {
    "run": "run the daemon in the foreground",
    "check": "check configuration, keys and exporters",
    "reload": "have the running daemon read its configuration again",
    "sign": "sign a message on standard input",
    "verify": "verify a message on standard input",
    "metrics": "show the catalogue of metrics",
}
"""Names and summaries; module ``phoenixdkim.cli.NAME``. Only the one that is called is imported."""

DEFAULT_CONFIG: Final = "/etc/phoenixdkim/phoenixdkim.toml"


class Command(Protocol):
    """What a command's module has."""

    NAME: str
    HELP: str

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Declare the command's arguments."""

    def run(self, args: argparse.Namespace) -> int:
        """Do it; returns the exit status."""


def command(name: str) -> Command:
    """The module of a command."""
    return cast(Command, importlib.import_module(f"{__name__}.{name.replace('-', '_')}"))


def parser(argv: Sequence[str]) -> argparse.ArgumentParser:
    """The parser; only the command that ``argv`` names has its arguments."""
    top = argparse.ArgumentParser(
        prog="phoenixdkim",
        description="DKIM signing and verifying milter.",
        epilog="'phoenixdkim COMMAND --help' tells of a command's arguments.",
    )
    top.add_argument("--version", action="version", version=f"phoenixdkim {__version__}")
    commands = top.add_subparsers(dest="command", metavar="COMMAND", required=True, title="commands")
    called = next((word for word in argv if not word.startswith("-")), "")
    for name, summary in COMMANDS.items():
        if name == called:
            module = command(name)
            module.add_arguments(commands.add_parser(name, help=summary, description=module.HELP))
        else:
            commands.add_parser(name, help=summary)
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; returns its exit status."""
    words = sys.argv[1:] if argv is None else list(argv)
    closed = streams.occupy()
    args = parser(words).parse_args(words)
    try:
        with contextlib.nullcontext() if args.command == "run" else streams.output_errors():
            status = command(args.command).run(args)
        if status == 0 and 1 in closed and args.command != "run":
            raise streams.StreamError("cannot write the result: standard output is closed", streams.EXIT_IO)
    except BrokenPipeError:
        # The reader of our output has gone, as 'head' does.
        streams.discard_output()
        return 141
    except streams.StreamError as error:
        streams.discard_output()
        print(f"phoenixdkim {args.command}: {error}", file=sys.stderr)
        return error.status
    except KeyboardInterrupt:
        return 130
    return status
