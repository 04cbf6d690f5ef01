"""Values that TOML has and options do not: each is an error with its line, wherever it is written."""

from __future__ import annotations

import pytest

from phoenixdkim.config.load import read_text
from phoenixdkim.config.model import Config
from phoenixdkim.exporters.check import check_tables

VALUES = {
    "2024-01-01": "a date is not accepted",
    "2024-01-01T00:00:00Z": "a datetime is not accepted",
    "2024-01-01T00:00:00": "a datetime is not accepted",
    "07:32:00": "a time is not accepted",
    "inf": "only finite numbers are accepted",
    "-inf": "only finite numbers are accepted",
    "nan": "only finite numbers are accepted",
    "9223372036854775808": "the number needs more than 64 bits",
    "-9223372036854775809": "the number needs more than 64 bits",
    "9" * 400: "the number needs more than 64 bits",
    "9" * 5000: "the number needs more than 64 bits",
    "-" + "9" * 5000: "the number needs more than 64 bits",
    "1_" * 5000 + "1": "the number needs more than 64 bits",
    "0x" + "f" * 6000: "the number needs more than 64 bits",
    "[" * 20 + "]" * 20: "nested more than 16 levels deep",
}
PLACES = ("{}", "[{}]", '["a", [{}]]', "{{a = {}}}", "{{a = {{b = [{}]}}}}")


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize(("value", "message"), VALUES.items(), ids=[value[:24] for value in VALUES])
def test_an_exporters_table(value, message, place):
    text = f"[exporters.http]\ninterval = 1\nx = {place.format(value)}\n"
    for check in (None, check_tables):
        found = [fault for fault in read_text(text, "file", check).faults if message in fault.message]
        assert [(fault.line, fault.is_error) for fault in found] == [(3, True)]


@pytest.mark.parametrize("value", VALUES, ids=[value[:24] for value in VALUES])
def test_every_option_of_the_core(value):
    for name, info in Config.model_fields.items():
        for option, of in getattr(info.annotation, "model_fields", {}).items():
            found = read_text(f"[{name}]\n{of.alias or option} = {value}\n", "file").faults
            assert any(fault.line == 2 and fault.is_error for fault in found), (name, option)


def test_the_smallest_and_largest_number_are_accepted():
    text = "[exporters.http]\nlow = -9223372036854775808\nhigh = 9223372036854775807\nfloat = -1e308\n"
    assert read_text(text, "file").faults == ()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[exporters.http]\nx = '" + "x" * 300_000 + "'\n", "at most 262144 can be sent"),
        ("[exporters.http]\nx = '" + "x" * 140_000 + "'\n", "octets together; 131072 is the most"),
        ("".join(f"[exporters.e{n}]\nx = '{'x' * 20_000}'\n" for n in range(8)), "octets together"),
        ("[exporters.http]\nx = [" + "1," * 20_000 + "]\n", "more than 10000 values"),
    ],
)
def test_tables_have_a_size(text, message):
    assert any(message in fault.message and fault.is_error for fault in read_text(text, "file").faults)
