"""``phoenixdkim sign``: a message on standard input, by the rules and keys of a configuration."""

from __future__ import annotations

import argparse
import dataclasses
import sys
import time
from collections.abc import Sequence
from typing import Final

from phoenixdkim.cli import DEFAULT_CONFIG
from phoenixdkim.cli.message import missing_keys, no_keys, process, timestamp
from phoenixdkim.config.build import build
from phoenixdkim.config.faults import Fault
from phoenixdkim.config.load import Loaded, read
from phoenixdkim.dkim.addresses import ADDRESS_FAULTS
from phoenixdkim.dkim.results import UNSIGNED_REASONS, UnsignedReason
from phoenixdkim.milter.outcome import InsertField
from phoenixdkim.milter.session import Client
from phoenixdkim.policy import Policy
from phoenixdkim.streams import read_input

NAME: Final = "sign"
HELP: Final = (
    "Sign the message on standard input by the signing rules and keys of the configuration, as the milter would for an"
    " authenticated client, and print it. Exit status 0 when it was signed, 1 when not, with the reason; 78 for a"
    " fault of the configuration."
)
EXIT_CONFIG: Final = 78


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument(
        "-c", "--config", default=DEFAULT_CONFIG, metavar="FILE", help="configuration file (default: %(default)s)"
    )
    parser.add_argument("--now", type=timestamp, metavar="TIME", help="write this time into t=")
    parser.add_argument("--fields", action="store_true", help="print the signature fields alone, not the message")


def run(args: argparse.Namespace) -> int:
    """Do it; returns the exit status."""
    loaded = read(args.config, None)
    # First without keys: the rule that matches names the few that have to be loaded.
    policy, faults = _policy(loaded, ())
    if policy is None:
        return _refused(faults)
    data = read_input()
    client = Client(authenticated=True)
    now = int(time.time()) if args.now is None else args.now
    if names := missing_keys(data, policy, client, now):
        policy, faults = _policy(loaded, names)
        if policy is None:
            return _refused(faults)
    outcome = process(data, policy, client, now, no_keys)
    made = [edit for edit in outcome.edits if isinstance(edit, InsertField)]
    end = b"\r\n" if b"\r\n" in data else b"\n"
    # Each was to be inserted above those before it.
    fields = b"".join(edit.name + b":" + edit.value.replace(b"\r\n", end) + end for edit in reversed(made))
    sys.stdout.buffer.write(fields if args.fields else fields + data)
    sys.stdout.buffer.flush()
    for signature in outcome.signatures:
        if signature.result == "error":
            name = f"{signature.selector.decode()}._domainkey.{signature.domain.decode()}"
            print(f"phoenixdkim sign: the key of {name} failed", file=sys.stderr)
    if outcome.unsigned is not None:
        reason = f"{outcome.unsigned}: {UNSIGNED_REASONS[outcome.unsigned]}"
        if outcome.address_fault is not None:
            reason += f" ({outcome.address_fault}: {ADDRESS_FAULTS[outcome.address_fault]})"
        if outcome.unsigned is UnsignedReason.KEY_MISSING:
            for fault in faults:
                print(fault, file=sys.stderr)
        print(f"phoenixdkim sign: not signed: {reason}", file=sys.stderr)
        return 1
    return 0


def _policy(loaded: Loaded, key_names: Sequence[str]) -> tuple[Policy | None, list[Fault]]:
    """The policy with these keys loaded, None if the configuration has errors; and all errors and warnings."""
    if loaded.config is None:
        return None, list(loaded.faults)
    policy, _, faults = build(loaded.config, uid_is_root=False, loaded=loaded, key_names=key_names)
    if policy is not None:
        # Who can read the keys may sign; which clients are trusted is for the daemon to decide.
        policy = dataclasses.replace(policy, trust_authenticated=True, required_macros={}, verifying=False)
    return policy, [*loaded.faults, *faults]


def _refused(faults: Sequence[Fault]) -> int:
    for fault in faults:
        if fault.is_error:
            print(fault, file=sys.stderr)
    return EXIT_CONFIG
