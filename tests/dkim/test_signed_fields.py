from __future__ import annotations

from phoenixdkim.config.model import Signing
from phoenixdkim.config.values import NEVER_SIGNED
from phoenixdkim.dkim.signed_fields import SIGNED_FIELDS, Coverage, default_names
from requirement import requirement


def names(coverage: Coverage) -> list[str]:
    return [row.name.decode() for row in SIGNED_FIELDS if row.coverage is coverage]


@requirement("S02")
@requirement("S03")
def test_the_defaults() -> None:
    assert names(Coverage.OVERSIGNED) == ["From", "Subject", "Reply-To"]
    assert names(Coverage.OVERSIGNED_IF_PRESENT) == [
        "Date",
        "To",
        "Cc",
        "MIME-Version",
        "Content-Type",
        "List-Unsubscribe",
        "List-Unsubscribe-Post",
    ]
    added = {"Feedback-ID", "CFBL-Address", "CFBL-Feedback-ID", "BIMI-Selector", "Autocrypt", "OpenPGP"}
    assert added | {"Auto-Submitted", "Sender", "Message-ID", "Resent-From", "List-Id"} <= set(names(Coverage.SIGNED))


def test_each_field_has_one_row_and_a_reason() -> None:
    every = [row.name.lower() for row in SIGNED_FIELDS]
    assert len(set(every)) == len(every)
    assert not {name.decode() for name in every} & set(NEVER_SIGNED)
    assert all(len(row.reason) > 10 and row.reason[0].islower() for row in SIGNED_FIELDS)


def test_the_options_have_the_defaults_of_the_table() -> None:
    options = Signing()
    for coverage in Coverage:
        assert getattr(options, coverage.value) == tuple(name.decode() for name in default_names(coverage))
    assert set(options.signed_headers) == {row.name.decode() for row in SIGNED_FIELDS}
