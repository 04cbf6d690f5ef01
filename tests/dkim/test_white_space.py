"""White space is blank, tab, CR and LF, and nothing else that Python takes for it (RFC 6376 section 2.8)."""

from __future__ import annotations

import pytest

from phoenixdkim.dkim.canonical import Canonicalization
from phoenixdkim.dkim.headers import HeaderField, parse_message
from phoenixdkim.dkim.keys import KeyAnswer, KeyOutcome, key_answer
from phoenixdkim.dkim.limits import Limits
from phoenixdkim.dkim.results import DnssecStatus, Reason
from phoenixdkim.dkim.selection import HeaderIndex, without_b
from phoenixdkim.dkim.signature import SignatureError, parse_signature
from phoenixdkim.dkim.tags import TagListError, parse_tag_list
from phoenixdkim.dkim.verify import Verifier
from phoenixdkim.keystore import public_record
from signed_mail import MESSAGE, NOW, ed_key, signed

LOOKS_LIKE_IT = [b"\v", b"\f", b"\x1c", b"\x85", b"\xa0"]
VALUE = b" v=1; a=rsa-sha256; d=example.com; s=s; %s; bh=MTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTI=; b=QUJD"


def refused(tag: bytes) -> Reason:
    with pytest.raises(SignatureError) as caught:
        parse_signature(HeaderField(b"DKIM-Signature", VALUE.replace(b"%s", tag)), Limits(), NOW)
    return caught.value.reason


@pytest.mark.parametrize("octet", LOOKS_LIKE_IT)
def test_v01_names_of_tags(octet: bytes) -> None:
    for text in (b"a=1;" + octet + b"b=2", b"a=1; b" + octet + b"=2"):
        with pytest.raises(TagListError) as caught:
            parse_tag_list(text, 10)
        assert caught.value.reason is Reason.TAG_LIST_SYNTAX
    assert parse_tag_list(b"a= \t\r\n 1" + octet + b" ; ", 10) == {b"a": b"1" + octet}
    with pytest.raises(TagListError):
        parse_tag_list(b"a=1; " + octet, 10)


@pytest.mark.parametrize("octet", LOOKS_LIKE_IT)
def test_v13_names_of_signed_fields(octet: bytes) -> None:
    assert refused(b"h=from:to" + octet) is Reason.BAD_HEADER_LIST
    assert refused(b"h=" + octet + b"from:to") is Reason.BAD_HEADER_LIST


@pytest.mark.parametrize("octet", LOOKS_LIKE_IT)
def test_query_methods(octet: bytes) -> None:
    assert refused(b"h=from; q=" + octet + b"dns/txt") is Reason.UNKNOWN_QUERY_METHOD


@pytest.mark.parametrize("octet", LOOKS_LIKE_IT)
def test_flags_of_keys(octet: bytes) -> None:
    record = public_record(ed_key().private)
    (key,) = key_answer([record + b"; t=y" + octet], DnssecStatus.UNKNOWN, Limits()).keys
    assert not isinstance(key, Reason)
    assert not key.testing
    (key,) = key_answer([record + b"; t= \t y \r\n : s"], DnssecStatus.UNKNOWN, Limits()).keys
    assert not isinstance(key, Reason)
    assert key.testing


def test_the_b_that_is_taken_out_has_that_name() -> None:
    for other in (b"Xb=1; ", b"\vb=1; ", b"B=1; ", b"c; b1=2; ", b"=; "):
        field = HeaderField(b"DKIM-Signature", b" " + other + b"bh=2; b =\r\n 3; d=4")
        assert without_b(field).value == b" " + other + b"bh=2; b =; d=4"
    assert without_b(HeaderField(b"DKIM-Signature", b"b=1")).value == b"b="
    assert without_b(HeaderField(b"DKIM-Signature", b"a=1; c")).value == b"a=1; c"


@pytest.mark.parametrize("tail", [b"X", b"\v", b"\xa0"])
def test_names_of_fields(tail: bytes) -> None:
    index = HeaderIndex([HeaderField(b"Subject" + tail, b" x"), HeaderField(b"Subject \t", b" y")])
    assert index.count(b"subject") == 1
    signature = HeaderField(b"DKIM-Signature", b" b=")
    alone = HeaderIndex([HeaderField(b"Subject \t", b" y")])
    names = [b"subject", b"subject", b"subject"]
    found, expected = (each.digest(names, Canonicalization.RELAXED, signature, None) for each in (index, alone))
    assert found == expected
    fields = [
        HeaderField(field.name + tail, field.value) if field.lname == b"dkim-signature" else field
        for field in parse_message(signed(MESSAGE, [ed_key()]))[0]
    ]
    assert Verifier(fields, Limits(), NOW).key_names == ()


@pytest.mark.parametrize("dnssec", DnssecStatus)
def test_an_answer_keeps_its_dnssec_status_whatever_it_holds(dnssec: DnssecStatus) -> None:
    record = public_record(ed_key().private)
    assert key_answer([], dnssec, Limits()) == KeyAnswer(KeyOutcome.ABSENT, dnssec=dnssec)
    assert key_answer([record, record + b"; n=other"], dnssec, Limits(max_key_records=1)).dnssec is dnssec
