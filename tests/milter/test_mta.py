"""Which MTA it is, by the macros that real ones sent at connect."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from phoenixdkim.milter.mta import LINE_LIMITS, Mta, MtaKind, identify

POSTFIX = {"j": "mta.example", "{daemon_name}": "mta.example", "{daemon_addr}": "127.0.0.1", "v": "Postfix 3.7.11"}
SENDMAIL = {"j": "mta.example", "_": "c.example [192.0.2.1]", "{daemon_name}": "MTA-v4", "{if_name}": "mta.example"}


def identified(macros: Mapping[str, str]) -> Mta:
    return identify(lambda name: macros.get(name, ""))


@pytest.mark.parametrize(
    ("macros", "kind"),
    [
        (POSTFIX, MtaKind.POSTFIX),
        ({"v": "Postfix 3.11-20260101"}, MtaKind.POSTFIX),
        (SENDMAIL, MtaKind.SENDMAIL),
        ({"{if_addr}": "192.0.2.9"}, MtaKind.SENDMAIL),
        ({"j": "mta.example", "v": "8.17.1.9"}, MtaKind.SENDMAIL),
        ({"v": "8.18.1/8.18.1/Debian-6"}, MtaKind.SENDMAIL),
        ({**POSTFIX, "{if_name}": "x"}, MtaKind.POSTFIX),
        ({}, MtaKind.OTHER),
        ({"j": "mta.example", "v": "OpenSMTPD 7.4"}, MtaKind.OTHER),
        ({"v": "18.1"}, MtaKind.OTHER),
    ],
)
def test_kind(macros: Mapping[str, str], kind: MtaKind) -> None:
    assert identified(macros).kind is kind


def test_line_limits() -> None:
    assert {kind: LINE_LIMITS[kind] for kind in MtaKind} == {
        MtaKind.POSTFIX: 998,
        MtaKind.SENDMAIL: 990,
        MtaKind.OTHER: 998,
    }


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("mta.example", b"mta.example"),
        ("MTA-1.example_x", b"MTA-1.example_x"),
        ("x" * 255, b"x" * 255),
        ("x" * 256, b""),
        ("", b""),
        ("mta example", b""),
        ("mta.example;dkim=pass", b""),
        ("mta.example\r\nX: y", b""),
        ('"mta.example"', b""),
        ("mta.example/1", b""),
        ("mta@example", b""),
        ("mtä.example", b""),
        ("mta\udcff", b""),
    ],
)
def test_only_a_valid_authserv_id_is_taken(name: str, found: bytes) -> None:
    assert identified({"j": name}).name == found
