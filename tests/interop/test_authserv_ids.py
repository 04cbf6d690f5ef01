"""What any of these readers takes for our authserv-id must be removed (RFC 8601 section 5)."""

from __future__ import annotations

import re
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from interop.authserv_ids import is_ours, readings, values
from phoenixdkim.authres import forged
from requirement import requirement
from tables.authserv_ids import OURS, ROWS

SIEVE = """\
if header :matches "Authentication-Results" ["mx.example.com;*", "mx.example.com *", "mx.example.com"] { discard; }
"""


def left(found: list[bytes]) -> list[tuple[bytes, list[str]]]:
    """Values that are kept, with the readers that take them for ours."""
    answers = zip(found, readings(found), strict=True)
    by = [(value, [name for name, ids in answer.items() if any(map(is_ours, ids))]) for value, answer in answers]
    return [(value, names) for value, names in by if names and not forged(b" " + value, OURS)]


@requirement("A06", "A08")
def test_no_reader_finds_our_name_in_a_row_that_is_kept() -> None:
    assert left([value for _, value, _ in ROWS]) == []


@requirement("A06", "A08")
@pytest.mark.parametrize("seed", range(4))
def test_no_reader_finds_our_name_in_a_random_value_that_is_kept(seed: int) -> None:
    found = values(seed, 2000)
    answers = readings(found)
    ours = sum(any(is_ours(name) for ids in answer.values() for name in ids) for answer in answers)
    assert ours > 300, "too few to tell anything"
    assert left(found) == []


@requirement("A09")
def test_the_readers_find_other_names() -> None:
    """The readers themselves: each finds our name in a plain field, and another host's in another's."""
    answers = readings([b"mx.example.com; dkim=pass", b"mx.example.org; dkim=pass", b"sub.mx.example.com; dkim=pass"])
    assert [{name for name, ids in answer.items() if any(map(is_ours, ids))} for answer in answers] == [
        set(answers[0]),
        set(),
        set(),
    ]


@pytest.fixture
def readable() -> Iterator[Path]:
    """A directory that the user of sieve-test can read, which pytest's own are not."""
    with tempfile.TemporaryDirectory() as name:
        path = Path(name)
        path.chmod(0o777)
        yield path


@requirement("A06", "A08")
def test_no_sieve_script_finds_our_name_in_a_row_that_is_kept(readable: Path) -> None:
    script, message, settings = (readable / name for name in ("script.sieve", "message", "dovecot.conf"))
    script.write_text(SIEVE)
    version = subprocess.run(["dovecot", "--version"], capture_output=True, text=True, timeout=60, check=True).stdout
    if version.startswith("2.3."):
        storage = f"mail_location = maildir:{readable}/mail\n"
    else:
        storage = (
            "dovecot_config_version = 2.4.0\ndovecot_storage_version = 2.4.0\n"
            f"mail_driver = maildir\nmail_path = {readable}/mail\n"
        )
    settings.write_text(
        f"{storage}mail_uid = nobody\nmail_gid = nogroup\nmail_home = {readable}\n"
        "first_valid_uid = 1\nfirst_valid_gid = 1\nssl = no\n"
    )
    found = []
    for name, value, _ in ROWS:
        if b"\0" in value or re.search(rb"\r(?!\n)|(?<!\r)\n", value):
            continue
        message.write_bytes(b"Authentication-Results: " + value + b"\r\nFrom: a@example.com\r\n\r\nx\r\n")
        done = subprocess.run(
            ["sieve-test", "-c", str(settings), str(script), str(message)],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            env={"PATH": "/usr/bin:/bin", "HOME": str(readable), "USER": "nobody"},
        )
        assert done.returncode == 0, done.stderr
        if "discard" in done.stdout and not forged(b" " + value, OURS):
            found.append(name)
    assert found == []
