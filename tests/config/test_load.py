"""All faults of a file in one run, each with its line and what to write instead."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from phoenixdkim.config.effective import effective
from phoenixdkim.config.faults import Fault
from phoenixdkim.config.load import Loaded, read, read_octets, read_text
from phoenixdkim.exporters.messages import TableFault
from phoenixdkim.exporters.users import Rules

GOOD = """\
[signing]
trusted = ["127.0.0.0/8"]
[[signing.rules]]
from = "*@example.com"
keys = ["rsa"]
[keys.rsa]
domain = "example.com"
selector = "s1"
file = "/etc/phoenixdkim/s1.pem"
"""


def faults(text: str) -> list[str]:
    return [str(fault).removeprefix("file:") for fault in read_text(text, "file").faults]


EMPTY = ["", "\n", " \t\r\n", "# [signing]\n# all comments\n", "\ufeff"]


@pytest.mark.parametrize("text", EMPTY, ids=repr)
def test_a_file_without_any_table_is_an_error(text: str) -> None:
    (fault,) = read_octets(text.encode(), "file").faults
    assert str(fault).startswith("file: has no table, so nothing would be signed; ")
    assert fault.is_error


NO_RULES = [
    "[signing]",
    "signing = {}",
    "[signing]\nrules = []",
    "[signing]\nenabled = true",
    "[signing]\ntrusted = []",
]


@pytest.mark.parametrize("text", NO_RULES)
def test_a_signing_table_without_rules_is_an_error(text: str) -> None:
    assert any("signing: has no rules" in fault for fault in faults(text))


def test_signing_may_be_disabled_or_absent() -> None:
    for text in ("[signing]\nenabled = false", "[milter]", GOOD.replace("[signing]", "[signing]\nenabled = false")):
        loaded = read_text(text, "file")
        assert loaded.config is not None
        assert not loaded.config.signing.enabled
        assert read_text(effective(loaded.config), "file").config == loaded.config


def test_defaults() -> None:
    loaded = read_text("[milter]", "file")
    assert loaded.faults == ()
    assert loaded.config is not None
    assert loaded.config.milter.socket == "unix:/run/phoenixdkim/milter.sock"
    assert loaded.config.exporters == {}


def test_a_good_file() -> None:
    loaded = read_text(GOOD, "file")
    assert loaded.faults == ()
    assert loaded.config is not None
    assert loaded.config.signing.rules[0].from_ == "*@example.com"
    assert loaded.config.keys["rsa"].selector == "s1"


# Each is one change: the text, its line, its path, words that name the value, and words that say what to write.
ONE_FAULT = [
    ("[milter]\nsockt = 1", "2: milter.sockt: ", "'sockt'", "did you mean 'socket'?"),
    ("[milter]\nzzz = 1", "2: milter.zzz: ", "'zzz'", "the options here are: socket,"),
    ("[mitler]", "1: mitler: ", "'mitler'", "did you mean 'milter'?"),
    (GOOD + 'selectr = "x"', "10: keys.rsa.selectr: ", "'selectr'", "did you mean 'selector'?"),
    (
        GOOD.replace("keys = [", 'form = "x"\nkeys = ['),
        "5: signing.rules[0].form: ",
        "'form'",
        "did you mean 'from'?",
    ),
    (GOOD.replace("[signing]", "[signing]\nrule = 1"), "2: signing.rule: ", "'rule'", "did you mean 'rules'?"),
    ("milter = 3", "1: milter: ", "3", "write [...milter] on a line of its own"),
    ("[milter]\nworkers = 'four'", "2: milter.workers: ", '"four"', "a whole number without quotes"),
    ("[milter]\nworkers = 1.5", "2: milter.workers: ", "1.5", "a whole number"),
    ("[milter]\nworkers = true", "2: milter.workers: ", "true", "a whole number"),
    ("[milter]\nworkers = -1", "2: milter.workers: ", "-1 is too small", "at least 0"),
    ("[milter]\nworkers = 1000", "2: milter.workers: ", "1000 is too large", "at most 256"),
    ("[milter]\nsocket_mode = 0o660", "2: milter.socket_mode: ", "432", "in quotes"),
    ("[control]\nsocket = 'run/x'", "2: control.socket: ", "'run/x'", "absolute path"),
    (f"[control]\nsocket = '/{'x' * 107}'", "2: control.socket: ", "108 octets", "at most 107"),
    ("[milter]\nsocket = 'unix:/x'\n[control]\nsocket = '/x'", "4: control.socket: ", '"/x"', "another path"),
    ("[reload]\nmax_shrink = 1.5", "2: reload.max_shrink: ", "1.5", "at most 1"),
    ("[reload]\nmax_shrink = -0.5", "2: reload.max_shrink: ", "-0.5", "at least 0"),
    ("[milter]\nsocket_mode = '0968'", "2: milter.socket_mode: ", "0968", '"0660"'),
    ("[milter]\nsocket = '/run/x.sock'", "2: milter.socket: ", "/run/x.sock", 'write "unix:'),
    ("[milter]\nsocket = 'unix:x.sock'", "2: milter.socket: ", "x.sock", "absolute"),
    ("[milter]\nsocket = 'inet:99999@127.0.0.1'", "2: milter.socket: ", "'99999'", 'write "unix:'),
    ("[milter]\nsocket = 'inet:8891@::1'", "2: milter.socket: ", "::1", "brackets"),
    ("[milter]\nsocket = 'inet:8891'", "2: milter.socket: ", "address is missing", '"inet:8891@127.0.0.1"'),
    ("[milter]\nsocket = 'inet:8891@localhost'", "2: milter.socket: ", "'localhost' is no IP address", "127.0.0.1"),
    (f"[milter]\nsocket = 'unix:/{'x' * 107}'", "2: milter.socket: ", "108 octets", "shorter"),
    ("[milter]\nsocket_group = 'no-such-group'", "2: milter.socket_group: ", "no-such-group", "groupadd"),
    ("[milter]\nsocket_group = 'daemn'", "2: milter.socket_group: ", "daemn", "did you mean 'daemon'?"),
    ("[milter]\non_internal_error = 'discard'", "2: milter.on_internal_error: ", "discard", "tempfail"),
    ("[milter]\nreload_soft_deadline = 900", "2: milter.reload_soft_deadline: ", "900", "at most 600"),
    ("[milter]\nreload_hard_deadline = 100", "2: milter.reload_hard_deadline: ", "100", "at least 300"),
    ("[log]\nlevel = 'inof'", "2: log.level: ", '"inof"', "did you mean 'info'?"),
    ("[log]\ndestination = 'file'", "2: log.destination: ", '"file"', "'syslog'"),
    ("[signing]\ntrusted = '10.0.0.0/8'\nenabled = false", "2: signing.trusted: ", "10.0.0.0/8", "a list in brackets"),
    ("[signing]\ntrusted = ['10.0.0.1/8']\nenabled = false", "2: signing.trusted[0]: ", "10.0.0.1/8", '"10.0.0.0/8"'),
    (
        "[signing]\ntrusted = [\n'::1',\n'localnet']\nenabled = false",
        "4: signing.trusted[1]: ",
        "localnet",
        "192.0.2.0/24",
    ),
    (
        "[signing]\ncanonicalization = 'relax'\nenabled = false",
        "2: signing.canonicalization: ",
        "'relax'",
        '"relaxed/simple"',
    ),
    (
        "[signing]\nsigned_headers = ['From:']\nenabled = false",
        "2: signing.signed_headers[0]: ",
        "'From:'",
        "without colon",
    ),
    (
        "[signing]\nsigned_headers = ['Received']\nenabled = false",
        "2: signing.signed_headers[0]: ",
        "'Received'",
        "leave it out",
    ),
    ("[signing]\nkey_permissions = 'none'\nenabled = false", "2: signing.key_permissions: ", "none", "'off'"),
    (GOOD.replace('"*@', '"u*@'), "4: signing.rules[0].from: ", "u*@example.com", '"*@example.com"'),
    (GOOD.replace('["rsa"]', '["rsb"]'), "5: signing.rules[0].keys[0]: ", '"rsb"', "did you mean 'rsa'?"),
    (GOOD.replace('["rsa"]', '["rsa", "rsa"]'), "5: signing.rules[0].keys[1]: ", '"rsa"', "leave one out"),
    (GOOD.replace('keys = ["rsa"]', "keys = []"), "5: signing.rules[0].keys: ", "[]", "at least one"),
    (
        GOOD.replace('keys = ["rsa"]\n', 'keys = ["rsa"]\nidentity = "@example.org"\n'),
        "6: signing.rules[0].identity: ",
        "@example.org",
        '"@example.com"',
    ),
    (
        GOOD + '[[signing.rules]]\nfrom = "example.com"\nkeys = ["rsa"]',
        "11: signing.rules[1].from: ",
        "example.com",
        "one rule",
    ),
    (GOOD.replace('"example.com"', '"example..com"'), "7: keys.rsa.domain: ", "example..com", '"example.com"'),
    (GOOD.replace('"s1"', '"s;1"'), "8: keys.rsa.selector: ", "s;1", '"s2026"'),
    (GOOD.replace('selector = "s1"\n', ""), "6: keys.rsa.selector: ", "'selector' is missing", "write it"),
    (GOOD.replace('"/etc', '"etc'), "9: keys.rsa.file: ", "etc/phoenixdkim/s1.pem", "absolute path"),
    ("[verifying]\nauthserv_id = 'mx example'", "2: verifying.authserv_id: ", "mx example", '"mx.example.com"'),
    ("[verifying]\nremove_authserv_ids = ['']", "2: verifying.remove_authserv_ids[0]: ", "empty", '"mx2.example.com"'),
    ("[verifying]\nauthserv_id = 'mx;dkim=pass'", "2: verifying.authserv_id: ", "mx;dkim=pass", '"mx.example.com"'),
    ("[verifying]\non_fail = 'rejct'", "2: verifying.on_fail: ", "rejct", "did you mean 'reject'?"),
    ("[verifying]\nremove_forged = true", "2: verifying.remove_forged: ", "true", 'write "all"'),
    ("[verifying]\nremove_forged = false", "2: verifying.remove_forged: ", "false", 'write "off", or "own"'),
    ("[verifying]\nremove_forged = 'al'", "2: verifying.remove_forged: ", '"al"', "did you mean 'all'?"),
    ("[verifying]\nremove_forged = 1", "2: verifying.remove_forged: ", "1", "'own'"),
    ("[verifying]\nkeep_from = ['10.0.0.1/8']", "2: verifying.keep_from[0]: ", "10.0.0.1/8", '"10.0.0.0/8"'),
    ("[verifying]\nkeep_from = ['::ffff:10.0.0.0/104']", "2: verifying.keep_from[0]: ", "::ffff:", '"10.0.0.0/8"'),
    ("[verifying]\nkeep_from = ['::ffff:10.0.0.1']", "2: verifying.keep_from[0]: ", "::ffff:", '"10.0.0.1/32"'),
    ("[verifying]\nkeep_from = ['fe80::1%eth0']", "2: verifying.keep_from[0]: ", "fe80::1%eth0", "leave out '%'"),
    ("[verifying]\nkeep_from = ['fe80::%eth0/64']", "2: verifying.keep_from[0]: ", "%eth0/64", "leave out '%'"),
    ("[verifying]\nremove_authserv_ids = ['*.a.b']", "2: verifying.remove_authserv_ids[0]: ", "*.a.b", "in full"),
    ("[signing]\nsigned_headers = ['*']\nenabled = false", "2: signing.signed_headers[0]: ", "'*'", '"Subject"'),
    (
        "[signing]\noversigned_headers = ['(x)Date']\nenabled = false",
        "2: signing.oversigned_headers[0]: ",
        "(x)Date",
        '"Subject"',
    ),
    ("[verifying]\nlength_policy = 'ignore'", "2: verifying.length_policy: ", "ignore", "'accept'"),
    ("[limits]\nmin_rsa_bits = 4096\nmax_rsa_bits = 2048", "2: limits.min_rsa_bits: ", "4096", "at most 2048"),
    ("[dns]\ndnssec_probe = 'a..b'", "2: dns.dnssec_probe: ", "a..b", "'org.'"),
    ("[dns]\nnameservers = ['ns.example.com']", "2: dns.nameservers[0]: ", "ns.example.com", "IP address"),
    ("[dns]\nquery_timeout = 10", "2: dns.query_timeout: ", "10 s", "at most 8"),
    ("[dns]\nzone = 'zone'", "2: dns.zone: ", "'zone'", "absolute path"),
    ("exporters = 1", "1: exporters: ", "1", "table"),
    ("[exporters]\nhttp = 'on'", "2: exporters.http: ", '"on"', "[...http]"),
    ("[exporters.'a b']", '1: exporters."a b": ', '"a b"', "letters"),
    ("[milter", "1: is no TOML: ", "[milter", "expected ']'"),
    ("[milter]\nworkers = 1\nworkers = 2", "3: is no TOML: ", "overwrite", "workers"),
    ("x = [1,", "1: is no TOML: ", "x = [1,", "end of the file"),
    ("\x1b[2J\n", "1: is no TOML: ", "\\x1b[2J", "column 1"),
    ("x = 'a\u2028b\x0c", "1: is no TOML: ", "x = 'a\\u2028b", "end of the file"),
]


@pytest.mark.parametrize(("text", "place", "value", "hint"), ONE_FAULT, ids=[row[1] for row in ONE_FAULT])
def test_one_fault_one_line_with_place_value_and_what_to_write(text: str, place: str, value: str, hint: str) -> None:
    (line,) = [line for line in faults(text) if ": warning: " not in line]
    assert line.startswith(place)
    assert value in line.removeprefix(place)
    assert hint in line
    assert read_text(text, "file").config is None


ONE_WARNING = [
    (GOOD.replace("*@example.com", "*"), "4: warning: signing.rules[0].from: "),
    (GOOD + '[keys.old]\ndomain="example.com"\nselector="o"\nfile="/o"', "10: warning: keys.old: no signing rule"),
    ("[signing]\ntrusted = ['0.0.0.0/0']\nenabled = false", "2: warning: signing.trusted[0]: "),
    (
        GOOD.replace('["127.0.0.0/8"]', "[]\ntrust_authenticated = false"),
        "2: warning: signing.trusted: no client is trusted",
    ),
    (
        "[signing]\ntrusted_macros = { '{daemon_name}' = [] }\nenabled = false",
        '2: warning: signing.trusted_macros."{daemon_name}": [] accepts every value',
    ),
    ("[signing]\ntrusted_macros = { j = [] }\nenabled = false", "2: warning: signing.trusted_macros.j: "),
    ("[signing]\nkey_permissions = 'off'\nenabled = false", "2: warning: signing.key_permissions: "),
    (GOOD.replace("[signing]", "[signing]\nenabled = false"), "2: warning: signing.enabled: "),
    (
        GOOD.replace("[signing]", "[signing]\noversigned_headers=['To']\noversigned_if_present=['Cc','TO']"),
        "3: warning: signing.oversigned_if_present[1]: no effect: oversigned_headers has",
    ),
    (
        GOOD.replace("[signing]", "[signing]\noversigned_if_present=['Subject']"),
        "2: warning: signing.oversigned_if_present[0]: no effect: the default of oversigned_headers has",
    ),
    (
        GOOD.replace("[signing]", "[signing]\noversigned_headers=[]\noversigned_if_present=['from']"),
        "3: warning: signing.oversigned_if_present[0]: no effect: ",
    ),
    (
        GOOD.replace("[signing]", "[signing]\nsigned_headers=['To','Cc','tO']"),
        "2: warning: signing.signed_headers[2]: ",
    ),
    ("[limits]\nmin_rsa_bits = 512", "2: warning: limits.min_rsa_bits: "),
    ("[verifying]\non_none = 'reject'", "2: warning: verifying.on_none: "),
    ("[verifying]\nremove_forged = 'off'", "2: warning: verifying.remove_forged: "),
    ("[verifying]\nremove_forged = 'own'", "2: warning: verifying.remove_forged: "),
    ("[verifying]\nkeep_from = ['::/0']", "2: warning: verifying.keep_from[0]: "),
    ("[milter]\nsocket = 'inet:8891@0.0.0.0'", "2: warning: milter.socket: "),
    ("[dns]\nzone = '/z'\nnameservers = ['127.0.0.1']", "3: warning: dns.nameservers: "),
]


def test_field_lists_without_contradiction() -> None:
    for lists in (
        "oversigned_headers=['From','Date','To']",
        "oversigned_headers=[]\noversigned_if_present=['Subject']",
        "signed_headers=['From','Subject']\noversigned_headers=['From','Subject']\noversigned_if_present=['To']",
        "oversigned_headers=[]\noversigned_if_present=[]\nsigned_headers=[]",
    ):
        assert faults(GOOD.replace("[signing]", "[signing]\n" + lists)) == []


def test_trust_that_is_neither_everyone_nor_nobody() -> None:
    for option in (
        "trusted = []",
        "trusted = []\ntrust_authenticated = false\ntrusted_macros = { '{auth_authen}' = [] }",
        "trusted_macros = { '{daemon_name}' = ['A'], '{cert_subject}' = [] }",
        "required_macros = { '{daemon_name}' = [] }",
    ):
        assert faults(GOOD.replace('trusted = ["127.0.0.0/8"]', option)) == []


@pytest.mark.parametrize(("text", "start"), ONE_WARNING, ids=[row[1] for row in ONE_WARNING])
def test_warnings_do_not_refuse(text: str, start: str) -> None:
    (line,) = faults(text)
    assert line.startswith(start)
    assert read_text(text, "file").config is not None


@pytest.mark.parametrize("option", ["remove_authserv_ids = ['mx2.example.com']", "keep_from = ['192.0.2.1']"])
def test_options_that_are_unused_where_nothing_is_removed(option: str) -> None:
    forgeable, unused = faults(f"[verifying]\nremove_forged = 'off'\n{option}")
    assert forgeable.startswith("2: warning: verifying.remove_forged: ")
    assert unused.startswith("3: warning: verifying." + option.partition(" ")[0] + ": unused: ")
    assert faults(f"[verifying]\nremove_forged = 'all'\n{option}") == []


TWELVE = """\
[milter]
sockt = "unix:/run/x.sock"
workers = "four"

[signing]
trusted = ["10.0.0.1/8"]
canonicalization = "relaxd"

[[signing.rules]]
from = "*@example.com"
keys = ["exmaple"]

[keys.example]
domain = "example.com"
selector = "s1"
file = "keys/s1.pem"

[verifying]
authserv_id = "mx example"
on_fail = "rejct"

[dns]
query_timeout = 100

[exporters.textfile]
intervall = 10

[exporters.statsd]
address = "::1:8125"
interval = 0
"""


def plugins(tables: Mapping[str, Mapping[str, object]], rules: Rules) -> Sequence[TableFault]:
    assert set(tables) == {"textfile", "statsd"}
    known = ("type", "interval", "path")
    return [
        TableFault(("textfile", "intervall"), "Extra inputs are not permitted", "extra_forbidden", "10", known),
        TableFault(("statsd", "address"), "'::1:8125': an IPv6 address stands in brackets", "value_error", "x"),
        TableFault(("statsd", "interval"), "Input should be greater than or equal to 0.1", "greater_than_equal", "0"),
    ]


def test_twelve_faults_in_core_and_plugin_tables_are_twelve_lines(tmp_path: Path) -> None:
    path = tmp_path / "phoenixdkim.toml"
    path.write_text(TWELVE)
    lines = [str(fault) for fault in read(str(path), plugins).faults]
    assert [line.split(": ")[:2] for line in lines] == [
        [f"{path}:{number}", where]
        for number, where in [
            (2, "milter.sockt"),
            (3, "milter.workers"),
            (6, "signing.trusted[0]"),
            (7, "signing.canonicalization"),
            (11, "signing.rules[0].keys[0]"),
            (16, "keys.example.file"),
            (19, "verifying.authserv_id"),
            (20, "verifying.on_fail"),
            (23, "dns.query_timeout"),
            (26, "exporters.textfile.intervall"),
            (29, "exporters.statsd.address"),
            (30, "exporters.statsd.interval"),
        ]
    ]
    assert "did you mean 'interval'?" in lines[9]
    assert "write at least 0.1" in lines[11]
    assert not any("Input" in line or "pydantic" in line or "\n" in line for line in lines)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    (fault,) = read(str(tmp_path / "none.toml"), None).faults
    assert str(fault).startswith(f"{tmp_path}/none.toml: cannot be read: No such file")


def test_a_directory_instead_of_a_file(tmp_path: Path) -> None:
    (fault,) = read(str(tmp_path), None).faults
    assert "is a directory, not a regular file" in str(fault)


def test_a_file_that_is_not_utf8(tmp_path: Path) -> None:
    path = tmp_path / "latin.toml"
    path.write_bytes(b"[log]\n# caf\xe9\n")
    assert str(read(str(path), None).faults[0]) == f"{path}:2: octet 0xe9 is no UTF-8; save the file in UTF-8"


@pytest.mark.parametrize("depth", [70, 300, 900, 20_000])
@pytest.mark.parametrize(
    "text",
    [
        "x = {left}1{right}",
        "[{dots}]",
        "[[{dots}]]",
        "[milter]\n{dots} = 1",
        "[[signing.rules]]\n{dots} = 1",
        "[exporters.http]\n{dots} = 1",
        "[keys.a]\nx = {tables}1{ends}",
    ],
)
def test_a_file_that_is_nested_deeply(text: str, depth: int) -> None:
    dots = ".".join("a" * depth)
    text = text.format(left="[" * depth, right="]" * depth, dots=dots, tables="{a = " * depth, ends="}" * depth)
    found = read_text(text, "file")
    assert found.config is None
    (fault,) = found.faults
    assert "nested too deeply; use at most 64 levels" in str(fault)


def test_brackets_that_are_never_closed() -> None:
    assert not read_text("x = " + "[" * 100_000, "file").config


def test_a_byte_order_mark_and_crlf_are_no_matter(tmp_path: Path) -> None:
    path = tmp_path / "windows.toml"
    path.write_bytes(b"\xef\xbb\xbf[log]\r\nlevel = 'debug'\r\nlvl = 1\r\n")
    assert [fault.line for fault in read(str(path), None).faults] == [3]


def test_exporter_faults_are_located_later_too() -> None:
    loaded: Loaded = read_text("[exporters.http]\nlisten = 1", "file")
    assert loaded.config is not None
    fault: Fault = loaded.locate_exporter_fault(TableFault(("http", "listen"), "no good"))
    assert str(fault) == "file:2: exporters.http.listen: no good"
