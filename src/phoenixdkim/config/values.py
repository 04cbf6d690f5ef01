"""Values of options as they are written.

Each function returns the value, or raises ValueError: what is wrong with it and what to write instead.
"""

from __future__ import annotations

import ipaddress
import re
from typing import Final

from phoenixdkim.authres import is_authserv_id
from phoenixdkim.dkim.canonical import Canonicalization
from phoenixdkim.dns.options import parse_nameserver
from phoenixdkim.dns.validation import probe_name
from phoenixdkim.exporters.users import parse_uids
from phoenixdkim.policy import ascii_domain, parse_pattern

MAX_SOCKET_PATH: Final = 107
"""Octets of a unix socket's path: sun_path has 108 with its final zero (unix(7))."""
_MAPPED: Final = 96
"""Bits in front of an IPv4 address in IPv6 (RFC 4291 section 2.5.5.2)."""
NEVER_SIGNED: Final = ("return-path", "received", "comments", "keywords", "dkim-signature", "authentication-results")


def milter_socket(text: str) -> str:
    wanted = 'write "unix:/run/phoenixdkim/milter.sock", "inet:8891@127.0.0.1", "inet:8891@[::1]" or "systemd"'
    kind, colon, rest = text.partition(":")
    if text == "systemd":
        return text
    if not colon or kind not in ("unix", "local", "inet"):
        raise ValueError(f"{text!r} is no socket; {wanted}")
    if kind in ("unix", "local"):
        if not rest.startswith("/") or "\0" in rest or rest.endswith("/"):
            raise ValueError(f"{text!r}: the path of a socket is absolute; {wanted}")
        if len(rest.encode()) > MAX_SOCKET_PATH:
            raise ValueError(
                f"{text!r}: the path has {len(rest.encode())} octets; a unix socket's has at most {MAX_SOCKET_PATH},"
                " write a shorter one"
            )
        return text
    port, at, host = rest.partition("@")
    if not (port.isascii() and port.isdigit() and len(port) <= 5 and 0 < int(port) < 65536):
        raise ValueError(f"{text!r}: '{port}' is no port from 1 to 65535; {wanted}")
    bracketed = host.startswith("[") and host.endswith("]")
    try:
        address = ipaddress.ip_address(host[1:-1] if bracketed else host)
    except ValueError as error:
        what = f"'{host}' is no IP address" if at else "the address is missing"
        raise ValueError(f"{text!r}: {what}; {wanted}") from error
    if (address.version == 6) != bracketed:
        raise ValueError(f"{text!r}: an IPv6 address, and no other, stands in brackets; {wanted}")
    return text


def control_socket(text: str) -> str:
    if text and (not text.startswith("/") or "\0" in text or text.endswith("/")):
        raise ValueError(f'{text!r}: write an absolute path, as in "/run/phoenixdkim/control.sock", or "" for none')
    if len(text.encode()) > MAX_SOCKET_PATH:
        raise ValueError(
            f"{text!r}: the path has {len(text.encode())} octets; a unix socket's has at most {MAX_SOCKET_PATH}"
        )
    return text


def file_mode(text: str) -> str:
    if not (3 <= len(text) <= 4 and all(c in "01234567" for c in text) and int(text, 8) <= 0o777):
        raise ValueError(f'{text!r} is no file mode; write three octal digits after a zero, as in "0660"')
    return text


def network(text: str) -> str:
    try:
        found = ipaddress.ip_network(text)
    except ValueError as error:
        try:
            near = f'; write "{ipaddress.ip_network(text, strict=False)}", or the address without "/..."'
        except ValueError:
            near = '; write an address or a network, as in "192.0.2.0/24" or "2001:db8::/32"'
        raise ValueError(f"{text!r} is no network: {error}{near}") from error
    if "%" in text:
        raise ValueError(f"{text!r}: the interface of a client is not known; leave out '%' and what follows it")
    if isinstance(found, ipaddress.IPv6Network) and found.prefixlen >= _MAPPED and found.network_address.ipv4_mapped:
        inner = ipaddress.ip_network((found.network_address.ipv4_mapped, found.prefixlen - _MAPPED))
        raise ValueError(f'{text!r} is an IPv4 network in IPv6 notation; write "{inner}"')
    return text


def nameserver(text: str) -> str:
    parse_nameserver(text)
    return text


def dnssec_probe(text: str) -> str:
    probe_name(text)
    return text


def canonicalization(text: str) -> str:
    if any(part not in list(Canonicalization) for part in text.split("/")) or text.count("/") > 1:
        raise ValueError(
            f'{text!r} is no canonicalization; write "relaxed/simple", "relaxed/relaxed", "simple/simple" or'
            ' "simple/relaxed"'
        )
    return text


def max_line(value: object) -> object:
    if value != "auto" and not (type(value) is int and 78 <= value <= 100_000):
        raise ValueError(f'{value!r:.60} is not a line length; write "auto" or a number from 78 to 100000')
    return value


def field_name(text: str) -> str:
    if re.fullmatch(r"[A-Za-z0-9_.-]+", text) is None:
        raise ValueError(
            f"{text!r} is not the name of a header field; write the name alone, without colon, pattern or mark,"
            ' as in "Subject"'
        )
    if text.lower() in NEVER_SIGNED:
        raise ValueError(f"{text!r} must not be signed, relays change or add it (RFC 6376 section 5.4); leave it out")
    return text


def domain(text: str) -> str:
    try:
        ascii_domain(text)
    except ValueError as error:
        raise ValueError(f'{text!r} is no domain name ({error}); write one as in "example.com"') from error
    return text


def selector(text: str) -> str:
    try:
        ascii_domain(text)
    except ValueError as error:
        raise ValueError(f'{text!r} is no selector ({error}); write one as in "s2026"') from error
    return text


def author_pattern(text: str) -> str:
    parse_pattern(text)
    return text


def identity(text: str) -> str:
    local, at, domain = text.rpartition("@")
    wanted = 'write "@news.example.com" or "user@example.com"'
    if text and (not at or not local.isascii() or any(not 33 <= ord(c) <= 126 or c in "@;=\\" for c in local)):
        raise ValueError(f"{text!r} is no identity; {wanted}")
    if text:
        try:
            ascii_domain(domain)
        except ValueError as error:
            raise ValueError(f"{text!r}: '{domain}' is no domain name ({error}); {wanted}") from error
    return text


def authserv_id(text: str) -> str:
    if text and not is_authserv_id(text.encode()):
        raise ValueError(
            f"{text!r} is no authserv-id (RFC 8601 section 2.2): letters, digits, '.' and '-', no blanks;"
            ' write the host\'s name, as in "mx.example.com"'
        )
    return text


def other_authserv_id(text: str) -> str:
    if not text:
        raise ValueError('an empty authserv-id; write the name that is to be removed, as in "mx2.example.com"')
    if "*" in text:
        raise ValueError(f"{text!r} is compared as it is, '*' stands for nothing else; write each name in full")
    return authserv_id(text)


def remove_forged(value: object) -> object:
    if isinstance(value, bool):
        instead = '"all" (or leave it out)' if value else '"off", or "own" to keep what other local filters wrote'
        raise ValueError(f"{str(value).lower()}: no longer a boolean; write {instead}")
    return value


def absolute_file(text: str) -> str:
    if not text.startswith("/") or "\0" in text or text.endswith("/"):
        raise ValueError(f'{text!r}: write the absolute path of a file, as in "/etc/phoenixdkim/file"')
    return text


def optional_file(text: str) -> str:
    return absolute_file(text) if text else text


def uid_range(text: str) -> str:
    parse_uids(text)
    return text
