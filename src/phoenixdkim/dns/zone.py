"""A zone file as the only source of records: for tests, the demo, and keys that are not published yet."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import dns.exception
import dns.name
import dns.rdataclass
import dns.rdatatype
import dns.rrset
import dns.tokenizer
import dns.zonefile

DEFAULT_TTL: Final = 300
MAX_CHAIN: Final = 12


class ZoneError(ValueError):
    """The zone file can't be read. The message has file, line and fault."""


@dataclass(frozen=True, slots=True)
class ZoneAnswer:
    """TXT records of a name, each with its strings joined, none when it has none; time to live in seconds."""

    records: tuple[bytes, ...]
    ttl: int


class Zone:
    """Records of a master file (RFC 1035 section 5).

    Names need no final dot: all are absolute unless ``$ORIGIN`` says otherwise. Class and TTL may be left out.

    Args:
        path: the file; it is read now, and again when it has changed.

    Raises:
        ZoneError: it can't be read, or has a fault.
    """

    def __init__(self, path: str | Path) -> None:
        self._path = Path(path)
        self._lock = threading.Lock()
        self._stamp: tuple[int, int, int] | None = None
        self._rrsets: Mapping[tuple[dns.name.Name, dns.rdatatype.RdataType], dns.rrset.RRset] = {}
        self._load()

    def _load(self) -> None:
        try:
            status = self._path.stat()
            stamp = (status.st_mtime_ns, status.st_ino, status.st_size)
            if stamp == self._stamp:
                return
            text = self._path.read_bytes().decode("utf-8", "surrogateescape")
        except OSError as error:
            raise ZoneError(f"{self._path}: {error.strerror}") from error
        self._rrsets = _parse(text, str(self._path))
        self._stamp = stamp

    def look_up(self, name: dns.name.Name) -> ZoneAnswer | None:
        """TXT records at the end of the aliases of ``name``; None when the aliases have no end.

        Raises:
            ZoneError: the file changed and can't be read any more.
        """
        with self._lock:
            self._load()
            rrsets = self._rrsets
        ttl = 2**31 - 1
        for _ in range(MAX_CHAIN):
            alias = rrsets.get((name, dns.rdatatype.CNAME))
            if alias is None:
                break
            ttl = min(ttl, alias.ttl)
            name = alias[0].target
        else:
            return None
        found = rrsets.get((name, dns.rdatatype.TXT))
        if found is None:
            return ZoneAnswer((), min(ttl, DEFAULT_TTL))
        return ZoneAnswer(tuple(b"".join(rdata.strings) for rdata in found), min(ttl, found.ttl))


def _parse(text: str, shown: str) -> dict[tuple[dns.name.Name, dns.rdatatype.RdataType], dns.rrset.RRset]:
    manager = dns.zonefile.RRSetsReaderManager(dns.name.root, False, dns.rdataclass.IN)
    try:
        with dns.zonefile.RRsetsReaderTransaction(manager, True, False) as transaction:  # type: ignore[no-untyped-call]
            reader = dns.zonefile.Reader(
                dns.tokenizer.Tokenizer(text, shown),
                dns.rdataclass.IN,
                transaction,
                allow_include=False,
                allow_directives=("$TTL", "$ORIGIN"),
                default_ttl=DEFAULT_TTL,
            )
            reader.read()
    except (dns.exception.DNSException, ValueError) as error:
        message = str(error) or type(error).__name__
        raise ZoneError(message if shown in message else f"{shown}: {message}") from error
    return {(rrset.name, rrset.rdtype): rrset for rrset in manager.rrsets}
