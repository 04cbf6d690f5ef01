"""``phoenixdkim verify``: a message on standard input, through the milter's own code."""

from __future__ import annotations

import argparse
import dataclasses
import json
import socket
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any, Final

from phoenixdkim import authres
from phoenixdkim.cli.message import LookUp, process, timestamp
from phoenixdkim.config.build import build
from phoenixdkim.config.load import read
from phoenixdkim.dkim.advice import ADVICE
from phoenixdkim.dkim.keys import KeyAnswer
from phoenixdkim.dkim.results import REASONS, Reason, Result
from phoenixdkim.dkim.verify import SignatureVerdict, determinative
from phoenixdkim.dns.options import ResolverOptions, parse_nameserver
from phoenixdkim.dns.resolver import Resolver
from phoenixdkim.dns.zone import ZoneError
from phoenixdkim.events import Event
from phoenixdkim.milter.session import Client
from phoenixdkim.policy import Policy
from phoenixdkim.streams import read_input

NAME: Final = "verify"
HELP: Final = (
    "Verify the message on standard input with the milter's own code and print its Authentication-Results field."
    " Exit status 0 for pass, 75 for temperror, 1 for every other result, 78 for a fault of the configuration."
)
EXIT_TEMPFAIL: Final = 75
EXIT_CONFIG: Final = 78
EXIT_USAGE: Final = 2


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("-c", "--config", metavar="FILE", help="take limits, authserv-id and resolver of this file")
    parser.add_argument(
        "--nameserver", action="append", default=[], metavar="ADDRESS", help="ask this name server; may be repeated"
    )
    parser.add_argument("--zone", metavar="FILE", help="take key records of this zone file, and ask nobody")
    parser.add_argument("--now", type=timestamp, metavar="TIME", help="judge t= and x= as of this time")
    parser.add_argument(
        "--engine",
        choices=("own", "dkimpy"),
        default="own",
        help="'dkimpy' for a second opinion by another implementation; it takes long over hostile mail",
    )
    parser.add_argument("--json", action="store_true", help="print the verdicts as JSON")


def _setting(args: argparse.Namespace) -> tuple[Policy, ResolverOptions] | int:
    policy, options = Policy(authserv_id=socket.gethostname().encode("ascii", "replace")), ResolverOptions()
    if args.config is not None:
        loaded = read(args.config, None)
        faults = list(loaded.faults)
        if loaded.config is not None:
            # What is signed is of no interest here, and its keys need not be readable.
            config = loaded.config.model_copy(update={"keys": {}, "signing": type(loaded.config.signing)()})
            made, options, more = build(config, uid_is_root=False, loaded=loaded)
            faults += more
            policy = made or policy
        if errors := [fault for fault in faults if fault.is_error]:
            for fault in errors:
                print(fault, file=sys.stderr)
            return EXIT_CONFIG
    try:
        for text in args.nameserver:
            parse_nameserver(text)
    except ValueError as error:
        print(f"phoenixdkim verify: --nameserver: {error}", file=sys.stderr)
        return EXIT_USAGE
    if args.nameserver:
        options = dataclasses.replace(options, nameservers=tuple(args.nameserver), zone=None)
    if args.zone is not None:
        options = dataclasses.replace(options, zone=args.zone)
    return dataclasses.replace(policy, signing=False, verifying=True, add_none=True), options


def run(args: argparse.Namespace) -> int:
    """Do it; returns the exit status."""
    setting = _setting(args)
    if isinstance(setting, int):
        return setting
    policy, options = setting
    now = int(time.time()) if args.now is None else args.now
    data = read_input()
    try:
        if args.engine == "dkimpy":
            from phoenixdkim.cli.second_opinion import second_opinion

            verdicts = second_opinion(data, options, policy.limits)
            chosen = determinative(verdicts)
            result = Result.NONE if chosen is None else chosen.result
            reason = Reason.NO_SIGNATURE if chosen is None else chosen.reason
        else:
            # Only the JSON has a place for the DNSSEC status.
            resolver = Resolver(options, policy.limits, wait_for_probe=args.json)
            outcome = process(data, policy, Client(), now, _look_up(resolver))
            resolver.close()
            verdicts = outcome.verdicts
            result, reason = outcome.result or Result.NONE, outcome.reason or Reason.NO_SIGNATURE
    except ZoneError as error:
        print(f"phoenixdkim verify: {error}", file=sys.stderr)
        return EXIT_CONFIG
    field = b"Authentication-Results:" + authres.build(policy.authserv_id, verdicts)
    shown = field.replace(b"\r\n", b"\n").decode("utf-8", "backslashreplace")
    if args.json:
        print(json.dumps(_as_json(result, reason, verdicts, shown), indent=2, ensure_ascii=False))
    else:
        print(shown)
    return {Result.PASS: 0, Result.TEMPERROR: EXIT_TEMPFAIL}.get(result, 1)


def _look_up(resolver: Resolver) -> LookUp:
    def nowhere(event: Event, seconds: float | None) -> None:
        """One message is not counted."""

    def look_up(names: Sequence[bytes]) -> Mapping[bytes, KeyAnswer]:
        return resolver.look_up(names, nowhere)

    return look_up


def _text(value: bytes) -> str:
    return value.decode("utf-8", "backslashreplace")


def _as_json(result: Result, reason: Reason, verdicts: Sequence[SignatureVerdict], field: str) -> dict[str, Any]:
    return {
        "result": str(result),
        "reason": str(reason),
        "advice": ADVICE[reason],
        "authentication_results": field,
        "signatures": [
            {
                "result": str(verdict.result),
                "reason": str(verdict.reason),
                "text": REASONS[verdict.reason].text,
                "detail": verdict.detail,
                "advice": ADVICE[verdict.reason],
                "algorithm": str(verdict.algorithm),
                "domain": _text(verdict.domain),
                "selector": _text(verdict.selector),
                "identity": _text(verdict.identity),
                "key_bits": verdict.key_bits,
                "dnssec": None if verdict.dnssec is None else str(verdict.dnssec),
                "testing": verdict.testing,
            }
            for verdict in verdicts
        ],
    }
