"""What can be changed about a signed message and its key record, by name.

A change before signing leaves a signature that is right but for the change; one after it breaks what was signed, or,
where canonicalization forgives it, does not.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

from interop.peers import KeyPair
from interop.reference import Field

Change = Callable[["Draft", Random], None]


@dataclass
class Draft:
    """A message that is not signed yet: its parts can still be changed.

    Attributes:
        tags: the tag list of the signature, each part as it stands between semicolons; bh= and b= are empty.
        record: the key record; None for no record.
        changes: names of the changes made.
    """

    key: KeyPair
    now: int
    fields: list[Field]
    body: bytes
    tags: list[bytes]
    record: bytes | None
    field_name: bytes = b"DKIM-Signature"
    changes: list[str] = field(default_factory=list)


def set_tag(draft: Draft, name: bytes, value: bytes) -> None:
    """Set a tag before b=, in its place if it is there."""
    for index, part in enumerate(draft.tags):
        if part.partition(b"=")[0].strip() == name:
            draft.tags[index] = part.partition(b"=")[0] + b"=" + value
            return
    draft.tags.insert(-2, b" " + name + b"=" + value)


def _tag_to(name: bytes, *values: bytes) -> Change:
    def change(draft: Draft, random: Random) -> None:
        set_tag(draft, name, random.choice(values))

    return change


def _signed_names(draft: Draft, random: Random) -> None:
    names = b"From:To:Subject:Date"
    value = random.choice(
        [
            b"To:Subject",
            b"from",
            b"FROM:subject",
            names + b":",
            b":" + names,
            b"From::To",
            b"From :\r\n\t To : Subject",
            b"From\r\n :To",
            b"From:From:From",
            names + b":X-Absent:X-Absent",
            names + b":DKIM-Signature",
            names + b":Received:Received",
            b"From:To,Subject",
            b"From To",
            b"From:Sub\r\n ject",
            b"",
            b"*",
            b"Fr\xc3\xb6m:From",
            b"From:(comment)To",
        ]
    )
    set_tag(draft, b"h", value)


def _times(draft: Draft, random: Random) -> None:
    now = draft.now
    name, value = random.choice(
        [
            (b"t", b"%d" % (now + 86400)),
            (b"t", b"%d" % (now + 60)),
            (b"t", b"0"),
            (b"t", b""),
            (b"t", b"-1"),
            (b"t", b"0x10"),
            (b"t", b"1 000"),
            (b"t", b"1.5"),
            (b"t", b"9" * 20),
            (b"x", b"%d" % (now + 3600)),
            (b"x", b"%d" % (now - 86400)),
            (b"x", b"%d" % (now - 60)),
            (b"x", b"%d" % (now - 90)),
            (b"x", b"9" * 12),
            (b"x", b"9" * 13),
            (b"x", b""),
            (b"x", b"never"),
            (b"x", b"-5"),
            (b"x", b"1e12"),
        ]
    )
    set_tag(draft, name, value)


def _length(draft: Draft, random: Random) -> None:
    size = len(draft.body)
    choices = [b"0", b"%d" % size, b"%d" % (size // 2), b"%d" % (size + 50), b"", b"-1", b"1 0", b"9" * 77, b"0" * 70]
    set_tag(draft, b"l", random.choice(choices))


def _tag_white_space(draft: Draft, random: Random) -> None:
    index = random.randrange(len(draft.tags))
    name, equals, value = draft.tags[index].partition(b"=")
    gaps = [b" ", b"\t", b"\r\n ", b"\r\n\t", b"  "]
    draft.tags[index] = name + random.choice([b"", *gaps]) + equals + random.choice([b"", *gaps]) + value
    if name.strip() not in (b"bh", b"b"):
        draft.tags[index] += random.choice([b"", *gaps])


def _tag_order(draft: Draft, random: Random) -> None:
    random.shuffle(draft.tags)


def _tag_twice(draft: Draft, random: Random) -> None:
    draft.tags.insert(random.randrange(len(draft.tags)), random.choice(draft.tags))


def _tag_away(draft: Draft, random: Random) -> None:
    del draft.tags[random.randrange(len(draft.tags))]


def _tag_name_case(draft: Draft, random: Random) -> None:
    index = random.randrange(len(draft.tags))
    name, equals, value = draft.tags[index].partition(b"=")
    draft.tags[index] = name.upper() + equals + value


def _tag_list_end(draft: Draft, random: Random) -> None:
    draft.tags.append(random.choice([b"", b" ", b"\r\n ", b";", b" x", b" =", b" x=", b" (comment)"]))


def _strange_tag(draft: Draft, random: Random) -> None:
    part = random.choice(
        [
            b" r=y",
            b" z=From:a=20b|To:c",
            b" atps=example.net",
            b" x-y=1",
            b" 1a=2",
            b" a_b=c",
            b" n==",
            b' e="q;q"',
            b" j='",
            b" j=(",
            b" j=\\",
            b" o=\xe9",
            b" u=\xc3\xa4",
            b" e=",
            b" b2=x",
            b" bhx=y",
        ]
    )
    draft.tags.insert(random.randrange(len(draft.tags) - 1), part)


def _field_name(draft: Draft, random: Random) -> None:
    draft.field_name = random.choice([b"dkim-signature", b"DKIM-SIGNATURE", b"DKIM-Signature ", b"Dkim-Signature\t"])


def _message_field(draft: Draft, random: Random) -> None:
    index = random.randrange(len(draft.fields))
    name, value = draft.fields[index]
    names = [name.upper(), name.lower(), name + b" ", b"X-" + name]
    values = [b"", b" ", b" \r\n ", value + b" ", value + b"\t", b"\t" + value, value.replace(b" ", b"\r\n  ")]
    values += [value + b" \xe9", value + " ä".encode(), value + b"\x0c", value + b"\x0b b", value + b" \xa0 b"]
    values += [value + b"\x85", value + b"\x1c", value + b"\x00", value + b"\r", value + b" b=1; b="]
    draft.fields[index] = (random.choice(names), value) if random.random() < 0.3 else (name, random.choice(values))


def _second_field(draft: Draft, random: Random) -> None:
    name = random.choice([b"From", b"From", b"Subject", b"To", b"subject", b"Date", b"DKIM-Signature"])
    draft.fields.insert(random.randrange(len(draft.fields) + 1), (name, b" second <s@example.org>"))


def _field_away(draft: Draft, random: Random) -> None:
    del draft.fields[random.randrange(len(draft.fields))]


def _other_body(draft: Draft, random: Random) -> None:
    draft.body = random.choice(
        [
            b"no end",
            b"blank at the end ",
            b"\t",
            b" \r\n",
            b"\r\n\r\n\r\n",
            b"a\r\n \t\r\n\r\n",
            b"bare\nLF\n",
            b"bare\rCR\r",
            b"ends with CR\r",
            b"a\r\n\r",
            b"\n",
            b"NUL\0NUL\r\n",
            b"VT\x0bFF\x0c \x0c\r\n",
            b"\xa0 \xa0\r\n",
            b"x" * 2000 + b"\r\n",
            b" " * 2000 + b"x" + b" " * 2000 + b"\r\n",
            b"\r\n" * 3000 + b"x\r\n" + b"\r\n" * 3000,
            b"a\r\r\nb\r\n",
        ]
    )


BEFORE: dict[str, Change] = {
    "v=": _tag_to(b"v", b"1 ", b"2", b"0.5", b"", b"1.0", b"01", b"DKIM1"),
    "a=": _tag_to(
        b"a", b"RSA-SHA256", b"rsa-sha1", b"rsa-sha512", b"rsa", b"ed25519-sha256", b"rsa-sha256", b"x-sha256", b""
    ),
    "c=": _tag_to(
        b"c", b"relaxed", b"simple", b"Relaxed/Simple", b"relaxed/", b"/relaxed", b"", b"nowsp", b"relaxed/x",
        b"relaxed / relaxed", b"simple/simple/simple", b"relaxed\r\n /simple", b"relaxed/relaxed/relaxed",
    ),
    "d=": _tag_to(
        b"d", b"EXAMPLE.com", b"example.com.", b"example.co\r\n m", b"example.com ", b"com", b"", b".example.com",
        b"example..com", b"exam_ple.com", b"-example.com", b"mail.example.com", b"example.com(c)",
    ),
    "s=": _tag_to(b"s", b"RSA", b"ED", b"rsa ", b"a.rsa", b"", b"rsa.", b"r\r\n sa", b"r_sa", b"-rsa"),
    "i=": _tag_to(
        b"i", b"@example.com", b"joe@example.com", b"@mail.example.com", b"@example.org", b"@notexample.com", b"",
        b"example.com", b"joe", b"joe@EXAMPLE.COM", b"=6Aoe@example.com", b"a b@example.com", b"a@b@example.com",
        b"joe@example.com ", b"@.example.com", b"@example.com.", b'"a;b"@example.com', b"joe@exam ple.com",
        b"joe@example=2Ecom", b"\xe4@example.com", b"@",
    ),
    "q=": _tag_to(
        b"q", b"dns/txt", b"dns", b"DNS/TXT", b"http", b"http:dns/txt", b"dns/txt : http", b"", b"dns/txt:",
        b"dns/cname", b"dns/txt;q2=", b"dns / txt",
    ),
    "h=": _signed_names,
    "t= and x=": _times,
    "l=": _length,
    "white space around a tag": _tag_white_space,
    "order of tags": _tag_order,
    "a tag twice": _tag_twice,
    "a tag away": _tag_away,
    "case of a tag's name": _tag_name_case,
    "end of the tag list": _tag_list_end,
    "a strange tag": _strange_tag,
    "name of the signature field": _field_name,
    "a field": _message_field,
    "a second field": _second_field,
    "a field away": _field_away,
    "another body": _other_body,
}  # fmt: skip
"""Changes before signing, by name."""


def _record_to(*choices: Callable[[bytes, Random], bytes | None]) -> Change:
    def change(draft: Draft, random: Random) -> None:
        if draft.record is not None:
            draft.record = random.choice(choices)(draft.record, random)

    return change


def _more(*parts: bytes) -> Callable[[bytes, Random], bytes]:
    return lambda record, random: record + b"; " + random.choice(parts)


def _before(*parts: bytes) -> Callable[[bytes, Random], bytes]:
    return lambda record, random: random.choice(parts) + b"; " + record


def _instead(old: bytes, *new: bytes) -> Callable[[bytes, Random], bytes]:
    return lambda record, random: record.replace(old, random.choice(new))


def _byte(data: bytes, random: Random) -> bytes:
    """One octet changed, added or removed."""
    at = random.randrange(len(data) + 1)
    octet = random.choice([b" ", b";", b"=", b"\t", b":", b"a", b"A", b"0", b"\r\n ", b"\r", b"\n", b"\0", b"\xff"])
    match random.randrange(3):
        case 0:
            return data[:at] + octet + data[at:]
        case 1:
            return data[:at] + data[at + 1 :]
        case _:
            return data[:at] + octet + data[at + 1 :]


def _spaced(record: bytes, random: Random) -> bytes:
    head, equals, data = record.partition(b"p=")
    at = random.randrange(len(data) + 1)
    return head + equals + data[:at] + random.choice([b" ", b"\t", b"  ", b"\r\n "]) + data[at:]


def bare_key(record: bytes) -> bytes:
    """The record with its RSA key as RSAPublicKey instead of SubjectPublicKeyInfo."""
    head, equals, data = record.partition(b"p=")
    encoded = data.split(b";")[0]
    try:
        key = base64.b64decode(encoded, validate=True)
    except ValueError:
        return record
    if not encoded.startswith(b"MII"):
        return record
    # Of a 2,048-bit key the outer sequence, the algorithm and the head of the bit string have 24 octets.
    return head + equals + base64.b64encode(key[24:]) + data[len(encoded) :]


RECORDS: dict[str, Change] = {
    "v= of the record": _record_to(
        _instead(b"v=DKIM1; ", b"", b"v=DKIM2; ", b"v=dkim1; ", b"v=DKIM1;", b"v = DKIM1 ; ", b"V=DKIM1; ", b"v=; "),
        _instead(b"v=DKIM1; ", b"n=first; v=DKIM1; ", b"; v=DKIM1; "),
    ),
    "k= of the record": _record_to(
        _instead(b"k=rsa; ", b"", b"k=RSA; ", b"k=ed25519; ", b"k=x; ", b"k=; ", b"k = rsa ; "),
        _instead(b"k=ed25519; ", b"", b"k=Ed25519; ", b"k=rsa; ", b"k=x; ", b"k=; "),
    ),
    "h= of the record": _record_to(
        _more(b"h=sha256", b"h=sha1", b"h=sha1:sha256", b"h=SHA256", b"h=", b"h=*", b"h= sha1 : sha256 ", b"h=sha512")
    ),
    "s= of the record": _record_to(
        _more(b"s=email", b"s=*", b"s=other", b"s=other:email", b"s=", b"s=EMAIL", b"s=other : *", b"s=email*")
    ),
    "t= of the record": _record_to(_more(b"t=y", b"t=s", b"t=y:s", b"t=", b"t=x", b"t= y : s", b"t=S")),
    "more in the record": _record_to(
        _more(
            b"n=notes = and 'more'", b"x=1", b"g=*", b"g=", b"g=joe", b"", b" ", b"garbage", b"p=", b"n=\xe9", b"k=rsa"
        ),
        _before(b"n=x", b"x", b"", b"g=*"),
    ),
    "p= of the record": _record_to(
        _spaced,
        _spaced,
        lambda record, random: (
            record.partition(b"p=")[0] + random.choice([b"p=", b"p= ", b"", b"p=AAAA", b"p=x", b"p=="])
        ),
        lambda record, random: record.rstrip(b"="),
        lambda record, random: bare_key(record),
        lambda record, random: record + random.choice([b"=", b"==", b"A", b"AAAA"]),
    ),
    "an octet of the record": _record_to(_byte),
    "no record": _record_to(lambda record, random: random.choice([None, b"", b"v=spf1 -all", b" "])),
}
"""Changes of the key record, by name."""


def _anywhere(message: bytes, random: Random) -> bytes:
    return _byte(message, random)


def _in_signature(message: bytes, random: Random) -> bytes:
    end = message.index(b"\r\nReceived") if b"\r\nReceived" in message else len(message) // 2
    return _byte(message[:end], random) + message[end:]


def _line_ends(message: bytes, random: Random) -> bytes:
    head, gap, body = message.partition(b"\r\n\r\n")
    body = random.choice(
        [
            body + b"\r\n",
            body + b"\r\n\r\n",
            body.rstrip(b"\r\n"),
            body + b"\n",
            body + b"\r",
            body.replace(b"\r\n", b"\n"),
            body.replace(b"\r\n", b"\r\n\r\n", 1),
            body.replace(b" ", b"\t"),
            body.replace(b" ", b"  "),
            body.replace(b"\r\n", b" \r\n"),
            body.replace(b" \r\n", b"\r\n"),
            body + b" ",
            body + b"appended\r\n",
            b"\r\n" + body,
            b"prepended\r\n" + body,
        ]
    )
    return head + gap + body


def _header_shape(message: bytes, random: Random) -> bytes:
    head, gap, body = message.partition(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    at = random.randrange(len(lines))
    line = lines[at]
    match random.randrange(9):
        case 0:
            lines[at] = line + b" "
        case 1:
            lines[at] = line.replace(b" ", b"  ")
        case 2:
            lines[at] = line.replace(b" ", b"\r\n ", 1)
        case 3:
            lines[at] = line.swapcase()
        case 4:
            lines[at] = line.replace(b":", b" :", 1)
        case 5:
            lines.insert(at, line)
        case 6:
            del lines[at]
        case 7:
            other = random.randrange(len(lines))
            lines[at], lines[other] = lines[other], lines[at]
        case _:
            lines.insert(
                at, random.choice([b"From: x@example.org", b"Subject: x", b"To: x", b"X: y", b"no field", b" x"])
            )
    return b"\r\n".join(lines) + gap + body


def _signature_again(message: bytes, random: Random) -> bytes:
    end = message.find(b"\r\nReceived")
    if end < 0:
        return message
    first, rest = message[: end + 2], message[end + 2 :]
    return random.choice([first + message, first + rest.replace(b"\r\nFrom", b"\r\n" + first + b"From", 1)])


AFTER: dict[str, Callable[[bytes, Random], bytes]] = {
    "an octet of the message": _anywhere,
    "an octet of the signature": _in_signature,
    "line ends and blanks of the body": _line_ends,
    "lines of the header": _header_shape,
    "the signature again": _signature_again,
    "no separator": lambda message, random: message.partition(b"\r\n\r\n")[0] + b"\r\n",
    "no CRLF": lambda message, random: message.replace(b"\r\n", b"\n"),
}
"""Changes of the signed message, by name."""
