"""The traffic of one of everything has everything: each value of each label that mail and DNS can bring about."""

from __future__ import annotations

import pytest

from daemon.traffic import BusyHouse
from daemon.truth import truth
from phoenixdkim.dkim.results import DnssecStatus, Result
from phoenixdkim.events import CacheResult, DnsResult

ENUMS = {
    "phoenixdkim_verifications_total": ("result", Result),
    "phoenixdkim_dns_responses_total": ("result", DnsResult),
    "phoenixdkim_dns_cache_total": ("result", CacheResult),
    "phoenixdkim_dnssec_keys_total": ("status", DnssecStatus),
}

pytestmark = pytest.mark.daemon


def test_each_value_occurs(key):
    with BusyHouse(key, "", workers=1) as house:
        messages = house.round() + house.round()
        snapshot = truth(house.pid)
    assert snapshot.value("phoenixdkim_messages_total") == messages
    for name, (label, enum) in ENUMS.items():
        never = {member for member in enum if not snapshot.value(name, **{label: str(member)})}
        # Our resolver vouches for a key or says that nobody does; it knows no third way once its probe has answered.
        assert never <= {DnssecStatus.UNKNOWN}, name
    for action in ("sign", "verify", "pass"):
        assert snapshot.value("phoenixdkim_message_duration_seconds", action=action) > 0
    for algorithm in ("rsa-sha256", "ed25519-sha256"):
        assert snapshot.value("phoenixdkim_signatures_total", result="ok", algorithm=algorithm) > 0
    statuses = sum(snapshot.value("phoenixdkim_dnssec_keys_total", status=str(status)) for status in DnssecStatus)
    assert statuses < snapshot.value("phoenixdkim_signature_verifications_total")
