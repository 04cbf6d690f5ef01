"""Header fields as bytes, and a message taken apart into them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class HeaderField:
    """One header field as it stands in the message.

    Attributes:
        name: as found; obsolete syntax may have white space before the colon (RFC 5322 section 4.5.8).
        value: everything after the colon: leading space, folds as CRLF and white space, no final CRLF.
    """

    name: bytes
    value: bytes

    @property
    def lname(self) -> bytes:
        """The name for comparison: ASCII letters lowered, trailing white space removed."""
        return self.name.rstrip(b" \t").lower()


def crlf(data: bytes) -> bytes:
    """Give a message that has LF line ends alone the CRLF line ends of the wire; others stay as they are."""
    return data if b"\r\n" in data else data.replace(b"\n", b"\r\n")


def parse_message(data: bytes) -> tuple[list[HeaderField], bytes]:
    """Take a message with CRLF line ends apart into its fields and its body.

    Lines before the body that are no field and continue none end the header, as in most MTAs.
    """
    fields: list[HeaderField] = []
    position = 0
    size = len(data)
    while position < size:
        if data.startswith(b"\r\n", position):
            return fields, data[position + 2 :]
        end = position
        while True:
            end = data.find(b"\r\n", end)
            if end < 0:
                end = size
                break
            if data[end + 2 : end + 3] not in (b" ", b"\t"):
                break
            end += 2
        name, colon, value = data[position:end].partition(b":")
        if not colon or not name.rstrip(b" \t") or b"\n" in name or b"\r" in name or name[:1] in (b" ", b"\t"):
            return fields, data[position:]
        fields.append(HeaderField(name, value))
        position = end + 2
    return fields, b""
