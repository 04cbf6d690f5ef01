"""Streams of milter packets as no MTA, or a broken one, would send them; and honest messages after half ones."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable
from dataclasses import dataclass

from phoenixdkim.testing.milter_protocol import ALL_ACTIONS, ALL_PROTOCOL, Protocol, Step

Packet = tuple[bytes, bytes]

COMMANDS = b"ABCDEHKLMNOQRTU"
_STEPS = {step.value[0]: step.value[1] for step in Step}
DEAD_LENGTHS = (0, 1, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 65536, 65537, 1 << 20)


@dataclass(frozen=True)
class Sequence:
    """What is sent over one connection.

    Attributes:
        stream: its octets.
        packets: how many it was made of; 0 for octets by chance.
        honest: the stream ends with an honest message, which must be signed.
        leading_space: SMFIP_HDR_LEADSPC was offered; None where the daemon can only guess, after QUIT_NC among
            clients that offered something else.
    """

    stream: bytes
    packets: int
    honest: bool = False
    leading_space: bool | None = True


def sequence(chance: random.Random, wanted: Protocol) -> Sequence:
    """The next one.

    Args:
        chance: decides.
        wanted: the steps that the filter leaves out when they are offered; an honest client then leaves them out.
    """
    kind = chance.randrange(20)
    if kind < 5:
        return _half_messages(chance, wanted)
    if kind == 5:
        return Sequence(chance.randbytes(chance.randrange(200)), 0)
    packets = [_negotiation(chance, hostile=chance.random() < 0.3), *_session(chance), *_message(chance)]
    if chance.random() < 0.4:
        packets += _message(chance)
    for _ in range(chance.randint(1, 5)):
        chance.choice(_SPOILERS)(chance, packets)
    stream = b"".join(_wire(chance, packet) for packet in packets)
    if chance.random() < 0.25:
        stream = stream[: chance.randrange(len(stream) + 1)]
    return Sequence(stream, len(packets))


def _half_messages(chance: random.Random, wanted: Protocol) -> Sequence:
    """Messages that are given up at any point, sessions that end and begin anew, then one that is honest."""
    offered = Protocol(chance.getrandbits(21)) if chance.random() < 0.5 else ALL_PROTOCOL
    packets = [(b"O", struct.pack("!III", 6, int(ALL_ACTIONS), int(offered)))]
    session = _session(chance, trusted=True)
    packets += session
    for _ in range(chance.randint(1, 4)):
        half = _message(chance, ended=False)
        packets += half[: chance.randint(1, len(half))]
        packets.append((b"A", b""))
        if chance.random() < 0.2:
            packets += [(b"K", b""), *session]
    packets += honest_message(bool(offered & Protocol.HDR_LEADSPC))
    agreed = offered & wanted
    sent = [packet for packet in packets if not agreed & _STEPS.get(packet[0], Protocol(0))]
    stream = b"".join(_packet(*packet) for packet in sent)
    guessed = (b"K", b"") in packets
    return Sequence(stream, len(sent), True, None if guessed else bool(offered & Protocol.HDR_LEADSPC))


def honest_message(leading_space: bool) -> list[Packet]:
    """A message that is to be signed."""
    blank = b" " if leading_space else b""
    return [
        (b"M", b"<a@example.com>\0"),
        (b"R", b"<b@example.net>\0"),
        (b"T", b""),
        (b"L", b"From\0" + blank + b"a@example.com\0"),
        (b"L", b"Subject\0" + blank + b"honest\0"),
        (b"N", b""),
        (b"B", b"Hello\r\n"),
        (b"E", b""),
    ]


def _negotiation(chance: random.Random, *, hostile: bool) -> Packet:
    if not hostile:
        return b"O", struct.pack("!III", 6, int(ALL_ACTIONS), int(ALL_PROTOCOL))
    version = chance.choice((0, 1, 2, 3, 4, 5, 6, 7, 1 << 31, 0xFFFFFFFF))
    payload = struct.pack("!III", version, chance.getrandbits(32), chance.getrandbits(32))
    if chance.random() < 0.5:
        payload = struct.pack("!III", version, chance.getrandbits(9), chance.getrandbits(21))
    return b"O", (payload + chance.randbytes(chance.choice((0, 0, 0, 1, 5, 90))))[
        : chance.choice((0, 4, 11, 12, 12, 12, 99))
    ]


def _session(chance: random.Random, *, trusted: bool = False) -> list[Packet]:
    addresses = (b"4\x12\x34127.0.0.1\0", b"6\0\0::1\0", b"6\0\0IPv6:::1\0")
    others = (b"U", b"L\0\0/x\0", b"4\0\x19192.0.2.9\0", b"4\0\0not.an.address\0", b"9\0\0x\0", b"4")
    address = chance.choice(addresses[:1] if trusted else addresses + others)
    return [
        (b"D", b"Cj\0mta.example\0{daemon_name}\0x\0"),
        (b"C", b"localhost\0" + address),
        (b"H", b"client.example\0"),
    ]


_FIELDS = (
    (b"From", b" a@example.com"),
    (b"From", b" <@x:a@example.com>, \xff"),
    (b"Subject", b" \xe4\xf6\xfc\n\tfolded\r\n\tfolded"),
    (b"Authentication-Results", b" mx.example; dkim=pass"),
    (b"DKIM-Signature", b" v=1; a=rsa-sha256; d=example.com; s=rsa; h=from; bh=YWJj; b=YWJj"),
    (b"DKIM-Signature", b" v=1; a=rsa-sha256; d=other.example; s=\xff; h=from; bh=YWJj; b=YWJj"),
    (b"X-\xff-Name", b" hidden"),
    (b"X", b" " * 2000),
)

_CHUNKS = (b"\r", b"\nHello\r\n", b"\0\xff", b"x" * 1500, b" " * 9000)


def _message(chance: random.Random, *, ended: bool = True) -> list[Packet]:
    packets = [
        (b"M", b"<a@example.com>\0SIZE=1\0"),
        (b"R", b"<b@example.net>\0"),
        (b"D", b"Ti\0ABC\xff\0"),
        (b"T", b""),
    ]
    if chance.random() < 0.3:
        packets.insert(0, (b"D", b"M{auth_type}\0PLAIN\0{auth_authen}\0\xff\0"))
    for name, value in chance.choices(_FIELDS, k=chance.randint(0, 6)):
        packets.append((b"L", name + b"\0" + value + b"\0"))
    packets.append((b"N", b""))
    # Not an empty one: libmilter hangs up on it, and no MTA sends it.
    packets += [(b"B", chunk) for chunk in chance.choices(_CHUNKS, k=chance.randint(0, 2))]
    packets.append((b"E", chance.choice((b"", b"", b"rest\r\n"))))
    if ended and chance.random() < 0.5:
        packets.append((chance.choice((b"A", b"A", b"Q", b"K")), b""))
    return packets


def _drop(chance: random.Random, packets: list[Packet]) -> None:
    if packets:
        del packets[chance.randrange(len(packets))]


def _repeat(chance: random.Random, packets: list[Packet]) -> None:
    if packets:
        at = chance.randrange(len(packets))
        packets[at:at] = [packets[at]] * chance.choice((1, 1, 1, 20))


def _swap(chance: random.Random, packets: list[Packet]) -> None:
    if packets:
        one, other = chance.randrange(len(packets)), chance.randrange(len(packets))
        packets[one], packets[other] = packets[other], packets[one]


def _another_command(chance: random.Random, packets: list[Packet]) -> None:
    if packets:
        at = chance.randrange(len(packets))
        command = chance.randrange(256) if chance.random() < 0.3 else chance.choice(COMMANDS)
        packets[at] = (bytes((command,)), packets[at][1])


def _another_payload(chance: random.Random, packets: list[Packet]) -> None:
    if not packets:
        return
    at = chance.randrange(len(packets))
    command, payload = packets[at]
    data = bytearray(payload)
    way = chance.randrange(4)
    if way == 0:
        data = bytearray(chance.randbytes(chance.choice((0, 1, 3, 30))))
    elif way == 1:
        del data[chance.randint(0, len(data)) :]
    elif way == 2:
        data = bytearray(payload.replace(b"\0", b""))
    else:
        for _ in range(3):
            data[chance.randint(0, len(data)) :][:1] = chance.randbytes(1)
            data.insert(chance.randint(0, len(data)), chance.randrange(256))
    packets[at] = (command, bytes(data))


def _insert(chance: random.Random, packets: list[Packet]) -> None:
    packet = (bytes((chance.choice(COMMANDS),)), chance.randbytes(chance.choice((0, 0, 4, 12))))
    packets.insert(chance.randint(0, len(packets)), packet)


def _negotiate_again(chance: random.Random, packets: list[Packet]) -> None:
    packets.insert(chance.randint(0, len(packets)), _negotiation(chance, hostile=True))


_SPOILERS: tuple[Callable[[random.Random, list[Packet]], None], ...] = (
    _drop,
    _repeat,
    _swap,
    _another_command,
    _another_payload,
    _another_payload,
    _insert,
    _negotiate_again,
)


def _packet(command: bytes, payload: bytes) -> bytes:
    return struct.pack("!I", len(command) + len(payload)) + command + payload


def _wire(chance: random.Random, packet: Packet) -> bytes:
    """A packet, now and then with a length that is not its own."""
    if packet[0] == b"D":
        return _packet(b"D", _in_pairs(packet[1]))
    if chance.random() > 0.02:
        return _packet(*packet)
    size = chance.choice((*DEAD_LENGTHS, len(packet[1]), len(packet[1]) + 2))
    return struct.pack("!I", size) + b"".join(packet)


def _in_pairs(payload: bytes) -> bytes:
    """Macros with a value each: libmilter reads past the end of a list that has a name without one, and crashes."""
    names_and_values = payload[1:].split(b"\0")[:-1]
    return payload[:1] + b"".join(text + b"\0" for text in names_and_values[: len(names_and_values) // 2 * 2])
