"""Forms of From fields, and who signs them here; compared with opendkim in ``test_from_forms``.

``OURS`` has a key of its own, ``OTHER`` another one. ``STRANGER`` has none.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

OURS: Final = "example.com"
OTHER: Final = "example.net"
STRANGER: Final = "example.org"


@dataclass(frozen=True)
class FromForm:
    """One form.

    Attributes:
        value: the field's value.
        signed: signing domain; None if it is not signed.
        unlike_opendkim: why we do not sign what opendkim signs, or sign for another domain; empty for alike.
    """

    value: bytes
    signed: str | None = OURS
    unlike_opendkim: str = ""


_SEVERAL: Final = "several addresses with different keys: readers show one or the other"
_BRACKETS: Final = "the one address in brackets decides; opendkim takes the first address"
_ROUTE: Final = "a route has several domains, and readers differ on which is the author's"
_TWO_AT: Final = "two '@' in one address: readers take one or the other for the separator"

FORMS: Final = (
    # One address.
    FromForm(b" a@example.com"),
    FromForm(b"a@example.com"),
    FromForm(b" <a@example.com>"),
    FromForm(b"<a@example.com>"),
    FromForm(b" < a@example.com >"),
    FromForm(b" <a@ example.com>"),
    FromForm(b" <a @ example.com>"),
    FromForm(b" <a@example.com(c)>"),
    FromForm(b" <a@EXAMPLE.com>"),
    FromForm(b" <a@example(c).com>"),
    FromForm(b" Ann <a@example .com>"),
    FromForm(b" Ann <a@example\r\n .com>"),
    FromForm(b" Ann <a@example.\r\n com>"),
    FromForm(b" Ann <a@example.com .example.org>", None),
    FromForm(b" <a@example.com."),
    FromForm(b" a@example.com (Ann)"),
    FromForm(b' "a b"@example.com'),
    FromForm(b' <"a b"@example.com>'),
    FromForm(b' <"a@example.net"@example.com>'),
    FromForm(b" .a@example.com"),
    FromForm(b" a..b@example.com"),
    FromForm(b" <a.@example.com>"),
    FromForm(b" <a\xff@example.com>"),
    FromForm(b" a@sub.example.com", None),
    FromForm(b" a@example.org", None),
    # Display names.
    FromForm(b" Ann <a@example.com>"),
    FromForm(b" Ann<a@example.com>"),
    FromForm(b' "Ann" <a@example.com>'),
    FromForm(b' "Ann"Bob <a@example.com>'),
    FromForm(b' "Ann\\"" <a@example.com>'),
    FromForm(b" Ann. B. <a@example.com>"),
    FromForm(b" Ann\r\n\t<a@example.com>"),
    FromForm(b" 'Ann' <a@example.com>"),
    FromForm("\tJörg <a@example.com>".encode()),
    FromForm(b" J\xf6rg <a@example.com>"),
    FromForm(b" =?utf-8?q?J=C3=B6rg?= <a@example.com>"),
    FromForm(b" =?utf-8?q?b=40example=2Enet?= <a@example.com>"),
    FromForm(b" =?utf-8?q?=3Cb=40example=2Enet=3E?= <a@example.com>"),
    FromForm(b" =?utf-8?q?Foo,(Bar)?= <a@example.com>"),
    # Display names with specials.
    FromForm(b" a@example.com <a@example.com>"),
    FromForm(b" a@example.net <a@example.com>"),
    FromForm(b" 'a@example.com' <a@example.com>"),
    FromForm(b" a@example.net via list <a@example.com>"),
    FromForm(b" a@example.com via list <a@example.net>", OTHER),
    FromForm(b" a@example.com via list <a@example.org>", None),
    FromForm(b" Foo, Inc. <a@example.com>"),
    FromForm(b" Foo,Inc <a@example.com>"),
    FromForm(b" , <a@example.com>"),
    FromForm(b" Foo [Sales] <a@example.com>"),
    FromForm(b" Ann @ Home <a@example.com>"),
    FromForm(b" Ann: Sales <a@example.com>"),
    FromForm(b" Ann; Sales <a@example.com>"),
    FromForm(b" Ann \\ Bob <a@example.com>"),
    FromForm(b" Smile :) <a@example.com>"),
    FromForm(b" I <3 you <a@example.com>"),
    FromForm(b" a > b <a@example.com>"),
    FromForm(b" \x01 <a@example.com>"),
    # Not signed by opendkim: an open quoted string or comment.
    FromForm(b' "open <a@example.com>'),
    FromForm(b' O"Brien <a@example.com>'),
    FromForm(b" (open <a@example.com>"),
    FromForm(b" Sad :( <a@example.com>"),
    # Quoted strings and comments are never addresses.
    FromForm(b' "a@example.net" <a@example.com>'),
    FromForm(b' "Foo <b@example.net>" <a@example.com>'),
    FromForm(b' "Foo <b@example.com>" <a@example.org>', None),
    FromForm(b" (b@example.net) <a@example.com>"),
    FromForm(b" (<b@example.net>) a@example.com"),
    FromForm(b" (<b@example.com>) a@example.org", None),
    FromForm(b' "Ann <a@example.com>"', None),
    FromForm(b' "a@example.com"', None),
    FromForm(b" (a@example.com)", None),
    # Text behind the address.
    FromForm(b" <a@example.com> text"),
    FromForm(b" <a@example.com> (c)"),
    FromForm(b" <a@example.com> (<b@example.net>)"),
    FromForm(b' <a@example.com> "b@example.net"'),
    FromForm(b" <a@example.com> b@example.net"),
    FromForm(b" <a@example.com>, b@example.net"),
    FromForm(b" <a@example.com> <Sales>"),
    FromForm(b" <a@example.com>;"),
    # Without brackets.
    FromForm(b" a@example.com;"),
    FromForm(b" a@example.com,"),
    FromForm(b" Ann a@example.com"),
    FromForm(b" 'Ann' a@example.com"),
    FromForm(b" mailto:a@example.com"),
    FromForm(b" <mailto:a@example.com>"),
    FromForm(b" :a@example.com"),
    # Several addresses.
    FromForm(b" a@example.com, b@example.com"),
    FromForm(b" a@example.com; b@example.com"),
    FromForm(b" a@example.com b@example.com"),
    FromForm(b" A <a@example.com>, B <b@example.com>"),
    FromForm(b" A <a@example.com> B <b@example.com>"),
    FromForm(b" A <a@example.com>; B <b@example.com>"),
    FromForm(b" us: a@example.com;"),
    FromForm(b" us: a@example.com, B <b@example.com>;"),
    FromForm(b" a@example.com, b@example.net", None, _SEVERAL),
    FromForm(b" a@example.com b@example.net", None, _SEVERAL),
    FromForm(b" a@example.org, b@example.com", None),
    FromForm(b" a@example.com, b@example.org", None, _SEVERAL),
    FromForm(b" A <a@example.com>, B <b@example.net>", None, _SEVERAL),
    FromForm(b" a@example.com, B <b@example.net>", OTHER, _BRACKETS),
    FromForm(b" a@example.com, B <b@example.org>", None, _BRACKETS),
    # Unpaired and nested brackets.
    FromForm(b" <<a@example.com>>"),
    FromForm(b" <a@example.com>>"),
    FromForm(b" <<a@example.com>"),
    FromForm(b" <a@example.com"),
    FromForm(b" a@example.com>"),
    FromForm(b" <b@example.net<a@example.com>>", None, _SEVERAL),
    FromForm(b" <b@example.net <a@example.com>", None, _SEVERAL),
    FromForm(b" <a@example.com> b@example.net>", None, _SEVERAL),
    # No address, or none that all readers agree on.
    FromForm(b" <>", None),
    FromForm(b" Ann <>", None),
    FromForm(b" <> a@example.com", None),
    FromForm(b" undisclosed:;", None),
    FromForm(b" Ann", None),
    FromForm(b"", None),
    FromForm(b" a@[192.0.2.1]", None),
    FromForm(b" [a@example.com]", None),
    FromForm(b" <@example.net:a@example.com>", None, _ROUTE),
    FromForm(b" <@example.com,@example.net:a@example.com>", None, _ROUTE),
    FromForm(b" a@b@example.com", None, _TWO_AT),
    FromForm(b" <a@example.net@example.com>", None, _TWO_AT),
)
