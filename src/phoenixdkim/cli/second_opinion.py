"""What dkimpy makes of a message: an implementation that shares no code with ours.

It is no source of verdicts for mail: it folds many faults into one ``False`` and takes long over hostile input.
"""

from __future__ import annotations

import warnings
from typing import Any, Final

import dns.exception
import dns.name
import dns.rdatatype
import dns.resolver

from phoenixdkim.dkim.headers import crlf, parse_message
from phoenixdkim.dkim.limits import Limits
from phoenixdkim.dkim.results import Algorithm, Reason, Result
from phoenixdkim.dkim.verify import SignatureVerdict
from phoenixdkim.dns.options import Nameservers, ResolverOptions
from phoenixdkim.dns.zone import Zone

with warnings.catch_warnings():
    # dkimpy's source has escapes that Python warns about.
    warnings.simplefilter("ignore")
    import dkim

_ALGORITHMS: Final = {algorithm.value.encode(): algorithm for algorithm in Algorithm}


class _Records:
    """Key records for dkimpy, of a zone file or by dnspython's own resolver."""

    def __init__(self, options: ResolverOptions) -> None:
        self.unavailable = False
        self._zone = None if options.zone is None else Zone(options.zone)
        self._lifetime = options.message_timeout
        self._resolver = dns.resolver.Resolver(configure=False)
        servers = Nameservers(options).current()
        self._resolver.nameservers = [server.host for server in servers]
        self._resolver.nameserver_ports = {server.host: server.port for server in servers}

    def __call__(self, name: bytes, timeout: int = 5) -> bytes | None:
        try:
            wanted = dns.name.from_text(name.decode("utf-8"))
        except (UnicodeDecodeError, dns.exception.DNSException):
            return None
        if self._zone is not None:
            found = self._zone.look_up(wanted)
            return found.records[0] if found is not None and found.records else None
        try:
            answer = self._resolver.resolve(wanted, dns.rdatatype.TXT, lifetime=self._lifetime)
        except (dns.resolver.NXDOMAIN, dns.resolver.NoAnswer):
            return None
        except dns.exception.DNSException:
            self.unavailable = True
            return None
        return b"".join(next(iter(answer)).strings)


def second_opinion(data: bytes, options: ResolverOptions, limits: Limits) -> tuple[SignatureVerdict, ...]:
    """dkimpy's verdict on each signature, from the top, up to the limit."""
    message = crlf(data)
    fields, _ = parse_message(message)
    count = sum(field.lname == b"dkim-signature" for field in fields)
    return tuple(_verdict(message, index, _Records(options)) for index in range(min(count, limits.max_signatures)))


def _verdict(message: bytes, index: int, records: _Records) -> SignatureVerdict:
    reason = Reason.SIGNATURE_MISMATCH
    result = Result.FAIL
    judge: Any = None
    try:
        judge = dkim.DKIM(message)
        if judge.verify(idx=index, dnsfunc=records):
            result, reason = Result.PASS, Reason.VERIFIED
        elif records.unavailable:
            result, reason = Result.TEMPERROR, Reason.DNS_UNAVAILABLE
    except dkim.ValidationError as error:
        if str(error).startswith("body hash mismatch"):
            reason = Reason.BODY_HASH_MISMATCH
        else:
            result, reason = Result.PERMERROR, Reason.TAG_LIST_SYNTAX
    except Exception:  # noqa: BLE001 - beside its own exceptions it lets IndexError, ValueError and others out
        result, reason = Result.PERMERROR, Reason.TAG_LIST_SYNTAX
    found: dict[bytes, bytes] = getattr(judge, "signature_fields", None) or {}
    return SignatureVerdict(
        result=result,
        reason=reason,
        algorithm=_ALGORITHMS.get(found.get(b"a", b""), Algorithm.OTHER),
        domain=found.get(b"d", b""),
        selector=found.get(b"s", b""),
        identity=found.get(b"i", b""),
        b=b"".join(found.get(b"b", b"").split()),
    )
