"""HTTP requests and answers without a socket (X2, X3)."""

import gzip

import pytest
from hypothesis import given
from hypothesis import strategies as st

from phoenixdkim_prometheus.families import OPENMETRICS_TYPE, TEXT_TYPE
from phoenixdkim_prometheus.requests import MAX_REQUEST, Answer, answer, head_of, quality


def asked(head):
    return answer(head, lambda: b"text", lambda: b"openmetrics")


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"GET /metrics HTTP/1.1\r\nX: a\0b", "400"),
        (b"GET /metrics HTTP/1.1\r\n folded: x", "400"),
        (b"GET /metrics HTTP/1.1\r\nX : y", "400"),
        (b"GET /metrics HTTP/1.1\r\nno colon", "400"),
        (b"GET /metrics\0 HTTP/1.1", "404"),
        (b"GET /metrics", "400"),
        (b"GET /metrics FTP/1.1", "400"),
        (b"GET /metrics HTTP/3", "505"),
        (b"GET /metrics%2e HTTP/1.1", "404"),
        (b"GET /metrics/../metrics HTTP/1.1", "404"),
        (b"OPTIONS * HTTP/1.1", "404"),
        (b"POST / HTTP/1.1", "404"),
        (b"POST /metrics HTTP/1.1\r\nContent-Length: 5", "405"),
        (b"GET /metrics HTTP/1.1\r\nExpect: 100-continue", "200"),
    ],
)
def test_status(head, status):
    assert asked(head).status.partition(" ")[0] == status


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("", TEXT_TYPE),
        ("Accept: image/png", TEXT_TYPE),
        ("Accept: application/openmetrics-text; version=1.0.0", OPENMETRICS_TYPE),
        ("Accept: application/openmetrics-text;q=0.5, text/plain;q=0.6", TEXT_TYPE),
        ("Accept: application/openmetrics-text;q=0.6, */*;q=0.5", OPENMETRICS_TYPE),
        ("Accept: text/plain;q=0.1\r\naccept: application/openmetrics-text;q=0.2", OPENMETRICS_TYPE),
        ("Accept: */*", TEXT_TYPE),
    ],
)
def test_formats(accept, kind):
    found = asked(f"GET /metrics HTTP/1.1\r\n{accept or 'Host: x'}".encode())
    assert dict(found.headers)["Content-Type"] == kind
    assert found.body == (b"text" if kind == TEXT_TYPE else b"openmetrics")


@pytest.mark.parametrize(
    ("accept", "gzipped"),
    [
        ("gzip", True),
        ("deflate, gzip;q=1.0, *;q=0.5", True),
        ("*", True),
        ("identity;q=0.2, gzip;q=0.5", True),
        ("identity, gzip;q=0.5", False),
        ("gzip;q=0, *", False),
        ("br", False),
        ("", False),
    ],
)
def test_gzip(accept, gzipped):
    found = asked(f"GET /metrics HTTP/1.1\r\nAccept-Encoding: {accept}".encode())
    assert ("Content-Encoding" in dict(found.headers)) is gzipped
    assert (gzip.decompress(found.body) if gzipped else found.body) == b"text"


@pytest.mark.parametrize(
    ("header", "wanted", "value"),
    [
        ("text/plain;q=0.3", "text/plain", 0.3),
        ("text/*;q=0.3, */*;q=0.1", "text/plain", 0.3),
        ("text/plain;q=0, */*", "text/plain", 0.0),
        ("*/*", "text/plain", 1.0),
        ("image/png", "text/plain", 0.0),
        ("text/plain;q=x", "text/plain", 0.0),
        ("text/plain;q=nan", "text/plain", 0.0),
        ("text/plain;q=inf", "text/plain", 0.0),
        ("text/plain;q=7", "text/plain", 1.0),
        ("gzip;q=0, *", "gzip", 0.0),
        (",".join(["a"] * 64) + ",gzip", "gzip", 0.0),
    ],
)
def test_quality(header, wanted, value):
    assert quality(header, wanted) == value


def test_where_a_request_ends():
    assert head_of(b"GET / HTTP/1.1\r\n\r\nGET /metrics", ended=False) == b"GET / HTTP/1.1"
    assert head_of(b"", ended=False) is None
    assert head_of(b"GET /", ended=False) is None
    assert head_of(b"GET /", ended=True) == Answer("400 Bad Request")
    whole = b"GET / HTTP/1.1\r\nX: "
    assert head_of(whole + b"a" * (MAX_REQUEST - len(whole)) + b"\r\n\r\n", ended=False)
    for late in (b"a" * (MAX_REQUEST + 1), whole + b"a" * MAX_REQUEST + b"\r\n\r\n"):
        found = head_of(late, ended=False)
        assert isinstance(found, Answer)
        assert found.status.startswith("431")


def test_an_answer_to_head_has_the_length_and_no_body():
    whole, head = asked(b"GET /metrics HTTP/1.0").encode(False), asked(b"HEAD /metrics HTTP/1.0").encode(True)
    assert whole == head + b"text"
    assert b"Content-Length: 4\r\n" in head


PIECES = st.sampled_from(
    [
        b"GET",
        b"HEAD",
        b" ",
        b"/metrics",
        b"HTTP/1.1",
        b"\r\n",
        b":",
        b",",
        b";q=",
        b"Accept",
        b"gzip",
        b"*/*",
        b"\0",
        b"\xff",
    ]
)


@given(st.lists(st.one_of(PIECES, st.binary(max_size=6))).map(b"".join))
def test_whatever_is_asked_has_an_answer(octets):
    known = ("200", "400", "404", "405", "431", "505")
    for head in (octets, b"GET /metrics HTTP/1.1\r\nAccept: " + octets, b"GET /metrics HTTP/1.1\r\n" + octets):
        assert asked(head).status.startswith(known)
        found = head_of(head, ended=True)
        assert isinstance(found, (bytes, Answer))
