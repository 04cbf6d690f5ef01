from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from phoenixdkim.cli.postfix import Postconf, reinjection_faults
from phoenixdkim.config.load import Loaded, read_text

RULES = '[[signing.rules]]\nfrom = "*@example.com"\nkeys = ["k"]\n[keys.k]\ndomain = "example.com"\nselector = "s"\n'
MASTER = """\
smtp inet n - n - - smtpd{smtp}
submission inet n - n - - smtpd
  -o content_filter=
{back}
pickup unix n - n 60 1 pickup{pickup}
cleanup unix n - n - 0 cleanup
filter unix - n n - 10 pipe flags=Rq user=filter argv=/usr/bin/filter
"""
MILTERS = "smtpd_milters = inet:127.0.0.1:8891\n"
FILTER = "content_filter = smtp:[127.0.0.1]:10024\n"
BACK = "127.0.0.1:10025 inet n - n - - smtpd -o content_filter="


def loaded(options: str = "") -> Loaded:
    found = read_text(f"[signing]\n{options}\n{RULES}file = '/k'\n", "file")
    assert found.config is not None, found.faults
    return found


def postfix(directory: Path, main: str, back: str = BACK, smtp: str = "", pickup: str = "") -> Postconf:
    """The real postconf, of a configuration of its own."""
    (directory / "main.cf").write_text("compatibility_level = 3.6\n" + main)
    (directory / "master.cf").write_text(MASTER.format(back=back, smtp=smtp, pickup=pickup))
    program = shutil.which("postconf", path="/usr/sbin")
    assert program is not None, "these tests need Debian's postfix package"

    def run(arguments: Sequence[str]) -> str:
        return subprocess.run(
            [program, "-c", directory, *arguments], capture_output=True, text=True, check=True, timeout=60
        ).stdout

    return run


@pytest.mark.postfix
@pytest.mark.parametrize(
    ("main", "back", "services"),
    [
        (MILTERS + FILTER, BACK, ["127.0.0.1:10025"]),
        (MILTERS + FILTER, BACK.replace("127.0.0.1", "localhost"), ["localhost:10025"]),
        (MILTERS + FILTER, BACK.replace("127.0.0.1", "[::1]"), ["[::1]:10025"]),
        (MILTERS + FILTER, f"{BACK}\n{BACK.replace('10025', '10027')}", ["127.0.0.1:10025", "127.0.0.1:10027"]),
        ("m = inet:127.0.0.1:8891\nsmtpd_milters = $m\n" + FILTER, BACK, ["127.0.0.1:10025"]),
        (FILTER, BACK + " -o smtpd_milters=inet:127.0.0.1:8891", ["127.0.0.1:10025"]),
        ("smtpd_proxy_filter = 127.0.0.1:10024\n" + MILTERS, BACK + " -o smtpd_proxy_filter=", ["127.0.0.1:10025"]),
        # No milters on the service.
        (MILTERS + FILTER, BACK + " -o smtpd_milters=", []),
        (MILTERS + FILTER, BACK + " -o receive_override_options=no_address_mappings,no_milters", []),
        (FILTER, BACK, []),
        # No filter, or no service that takes mail back.
        (MILTERS, BACK, []),
        (MILTERS + FILTER, "", []),
        (MILTERS + FILTER, "127.0.0.1:2525 inet n - n - - smtpd", []),
        # A filter that hands mail back with sendmail(1).
        (MILTERS + "non_smtpd_milters = $smtpd_milters\ncontent_filter = filter:dummy\n", "", ["pickup"]),
        (MILTERS + "content_filter = filter:dummy\n", "", []),
        (MILTERS + "non_smtpd_milters = $smtpd_milters\n", "", []),
    ],
)
def test_services_that_take_mail_back(tmp_path: Path, main: str, back: str, services: list[str]) -> None:
    faults = reinjection_faults(loaded(), postfix(tmp_path, main, back))
    assert [fault.message.split("'")[1] for fault in faults] == services
    for fault in faults:
        assert not fault.is_error
        assert fault.path == ("signing", "trusted")
        assert "docs/postfix.md" in fault.message


@pytest.mark.postfix
def test_a_filter_of_one_service(tmp_path: Path) -> None:
    smtp = " -o content_filter=smtp:[127.0.0.1]:10024"
    assert len(reinjection_faults(loaded(), postfix(tmp_path, MILTERS, BACK, smtp))) == 1
    pickup = " -o receive_override_options=no_milters"
    main = MILTERS + "non_smtpd_milters = $smtpd_milters\ncontent_filter = filter:dummy\n"
    assert reinjection_faults(loaded(), postfix(tmp_path, main, "", "", pickup)) == []


@pytest.mark.postfix
@pytest.mark.parametrize(
    ("options", "warned"),
    [
        ("", True),
        ("trusted = ['127.0.0.1']", True),
        ("trusted = ['::1', '10.0.0.0/8']", True),
        ("trusted = ['10.0.0.0/8']", False),
        ("trusted = []\ntrusted_macros = { daemon_name = ['ORIGINATING'] }", False),
        ("trusted_macros = { daemon_name = ['ORIGINATING'] }", True),
        ("required_macros = { daemon_name = ['ORIGINATING'] }", False),
        ("enabled = false", False),
    ],
)
def test_only_where_loopback_alone_is_trusted(tmp_path: Path, options: str, warned: bool) -> None:
    faults = reinjection_faults(loaded(options), postfix(tmp_path, MILTERS + FILTER))
    assert bool(faults) is warned


@pytest.mark.parametrize("output", ["", "\n", "x\n\n=\n/\n/ =\n1 2 3 4 5 6 7 smtpd\n", "\x00\udc80 = \n" * 5])
def test_odd_output_of_postconf_is_no_fault(output: str) -> None:
    assert reinjection_faults(loaded(), lambda arguments: output) == []


@pytest.mark.postfix
def test_the_examples_of_the_documentation_are_safe(tmp_path: Path) -> None:
    text = (Path(__file__).parents[2] / "docs" / "postfix.md").read_text().partition("## Content filters")[2]
    examples = re.findall(r"```\n# master.cf\n(.*?)```\n(?:\n```toml\n\[signing\]\n(.*?)```)?", text, re.DOTALL)
    assert len(examples) == 2
    for master, options in examples:
        assert reinjection_faults(loaded(options), postfix(tmp_path, MILTERS, master)) == []
    assert reinjection_faults(loaded(), postfix(tmp_path, MILTERS, examples[0][0].replace("no_milters", "")))
    assert reinjection_faults(loaded(), postfix(tmp_path, MILTERS, examples[1][0]))


def test_without_postfix_nothing_is_found() -> None:
    def missing(arguments: Sequence[str]) -> str:
        raise FileNotFoundError

    assert reinjection_faults(loaded(), missing) == []
