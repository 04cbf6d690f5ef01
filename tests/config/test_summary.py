"""What a reload changes, in words, and what speaks against it."""

from __future__ import annotations

import pytest

from phoenixdkim.config.load import read_text
from phoenixdkim.config.summary import Summary, changes, objections, summarize


def text(
    rules: int = 4, keys: int = 4, trusted: str = '["192.0.2.0/24"]', signing: str = "", extra: str = "", shift: int = 0
) -> str:
    parts = ["[signing]"]
    if trusted:
        parts.append(f"trusted = {trusted}")
    parts.append(signing)
    parts += [f'[[signing.rules]]\nfrom = "*@d{n}.example"\nkeys = ["k0"]' for n in range(shift, shift + rules)]
    parts += [f'[keys.k{n}]\ndomain = "k{n}.example"\nselector = "s"\nfile = "/k{n}"' for n in range(keys)]
    return "\n".join([*parts, extra]) + "\n"


def summary(source: str) -> Summary:
    loaded = read_text(source, "file")
    assert loaded.config is not None, loaded.faults
    return summarize(loaded.config, loaded.tables)


MACROS = 'trusted_macros = { "{daemon_name}" = ["A"], x = [] }'


NOW = text(extra='[exporters.statsd]\ninterval = 1\n[exporters.http]\nlisten = "127.0.0.1:1"\n')


@pytest.mark.parametrize(
    ("new", "words"),
    [
        (NOW, "rules 4, keys 4, trusted 1"),
        (text(rules=5, keys=5), "rules 4 -> 5, keys 4 -> 5, trusted 1, exporters -statsd -http"),
        (
            text(extra='[exporters.http]\nlisten = "127.0.0.1:2"\n[exporters.textfile]\npath = "/x"\n'),
            "rules 4, keys 4, trusted 1, exporters +textfile -statsd ~http",
        ),
        (NOW.replace("d3.example", "other.example"), "rules 4 (changed), keys 4, trusted 1"),
        (NOW.replace("192.0.2.0", "198.51.100.0"), "rules 4, keys 4, trusted 1 (changed)"),
        (NOW.replace('"/k3"', '"/other"'), "rules 4, keys 4 (changed), trusted 1"),
        (
            NOW + "[verifying]\nenabled = false\n[dns]\nquery_timeout = 1\n",
            "rules 4, keys 4, trusted 1, verifying on -> off, options verifying dns",
        ),
        (
            NOW.replace("[signing]", "[signing]\nenabled = false"),
            "rules 4 -> 0, keys 4, trusted 1, signing on -> off",
        ),
        (
            NOW.replace("[signing]", "[signing]\ntrust_authenticated = false"),
            "rules 4, keys 4, trusted 1, authenticated on -> off, options signing",
        ),
    ],
)
def test_changes(new: str, words: str) -> None:
    assert changes(summary(NOW), summary(new)) == words


@pytest.mark.parametrize(
    ("old", "new", "reasons"),
    [
        (text(), text(), []),
        (text(), text(rules=2, keys=2), []),
        (text(), text(rules=9, keys=9), []),
        (text(), text(shift=10), []),
        (text(), text(rules=1), ["signing.rules: 4 -> 1 removes more"]),
        (text(), text(keys=1), ["keys: 4 -> 1 removes more"]),
        (text(), text(rules=1, keys=1), ["signing.rules: 4 -> 1", "keys: 4 -> 1"]),
        (text(rules=1, keys=1), "[milter]\n", ["signing: the table is missing", "keys: 1 -> 0"]),
        (text(), "[log]\nlevel = 'info'\n", ["signing: the table is missing", "keys: 4 -> 0"]),
        (text(), text(trusted="[]"), ["signing.trusted: all 1 networks are removed"]),
        (text(), text(trusted=""), ["signing.trusted: the option is missing"]),
        (text(trusted=""), text(trusted='["192.0.2.0/24"]'), []),
        (text(trusted=""), text(trusted="[]"), ["signing.trusted: all 2 networks are removed"]),
        (text(trusted='["127.0.0.0/8", "::1"]'), text(trusted=""), []),
        (text(trusted="[]"), text(trusted="[]"), []),
        (text(signing=MACROS), text(), ["signing.trusted_macros: all 2 macros are removed"]),
        (text(signing=MACROS), text(signing="trusted_macros = {}"), ["signing.trusted_macros: all 2 macros"]),
        (text(signing=MACROS), text(signing="trusted_macros = { x = [] }"), []),
        (text(), text(signing=MACROS), []),
        (text(trusted="[]"), text(trusted=""), []),
        (text(), text(rules=1, keys=1, trusted="[]", signing="enabled = false"), []),
        (text(), "[signing]\nenabled = false\n", []),
        ("[signing]\nenabled = false\n", "[milter]\n", []),
        ("[milter]\n", "[dns]\n", []),
        ("[milter]\n", text(), []),
        (text(signing="enabled = false"), text(rules=1), []),
        (text(extra="[reload]\nmax_shrink = 0"), text(rules=3), ["signing.rules: 4 -> 3 removes more"]),
        (text(extra="[reload]\nmax_shrink = 1"), text(rules=1, keys=1), []),
        (text(extra="[reload]\nmax_shrink = 1"), "[milter]\n", ["signing: the table is missing"]),
        # The new file has no say: it may have lost more than rules.
        (text(), text(rules=1, extra="[reload]\nmax_shrink = 1"), ["signing.rules: 4 -> 1 removes more"]),
    ],
)
def test_objections(old: str, new: str, reasons: list[str]) -> None:
    found = objections(summary(old), summary(new))
    assert len(found) == len(reasons), found
    assert all(line.startswith(reason) for line, reason in zip(found, reasons, strict=True)), found


def test_each_cut_of_a_file_is_an_error_an_objection_or_keeps_half() -> None:
    before = summary(NOW)
    for end in range(len(NOW)):
        loaded = read_text(NOW[:end], "file")
        if loaded.config is None:
            continue
        after = summarize(loaded.config, loaded.tables)
        if not objections(before, after):
            assert after.signing, end
            assert after.rules >= 2, end
            assert after.keys >= 2, end
            assert after.digests["trusted"] == before.digests["trusted"], end
