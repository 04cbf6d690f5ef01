"""StatsD servers that administrators have get the ledger's numbers: npm's statsd in four dialects, and collectd."""

from __future__ import annotations

import re
import socket
from pathlib import Path

import pytest

from daemon.house import House
from phoenixdkim.metrics import HistogramSample, Kind
from receivers.programs import Program, eventually, free_port
from receivers.truth import ledger, mixed_mail, series, snapshot_of

STATSD = Path(__file__).parents[2] / ".tools/node/node_modules/statsd/stats.js"
NAMES = {
    # As plain dotted names have been written elsewhere, by hand.
    "phoenixdkim.messages": series("phoenixdkim_messages_total"),
    "phoenixdkim.signatures.ok.rsa-sha256": series("phoenixdkim_signatures_total", result="ok", algorithm="rsa-sha256"),
    "phoenixdkim.verifications.pass": series("phoenixdkim_verifications_total", result="pass"),
    "phoenixdkim.verifications.fail": series("phoenixdkim_verifications_total", result="fail"),
    "phoenixdkim.verifications.none": series("phoenixdkim_verifications_total", result="none"),
    "phoenixdkim.dns.queries": series("phoenixdkim_dns_queries_total"),
    "phoenixdkim.dns.responses.success": series("phoenixdkim_dns_responses_total", result="success"),
    "phoenixdkim.dnssec.unknown": series("phoenixdkim_dnssec_keys_total", status="unknown"),
}


def house_of(key, port, tags="none", host="127.0.0.1"):
    table = f'[exporters.statsd]\naddress = "{host}:{port}"\ninterval = 0.3\ntags = "{tags}"\n'
    return House(key, exporters=table)


def expected(house, tags):
    """Counters that are not zero, timers by count, count above 1 ms and sum, and gauges, as a dialect names them."""
    counters, timers, gauges = {}, {}, {}
    for family in snapshot_of(house).families:
        spec = family.spec
        if spec.name == "phoenixdkim_build_info":
            continue
        for sample in family.samples:
            labels = dict(sample.labels)
            name = "phoenixdkim." + spec.dotted.format_map(labels)
            if tags != "none" and labels:
                base = "phoenixdkim." + spec.dotted.partition(".{")[0]
                mark = {"datadog": ";", "graphite": ";", "influx": ","}[tags]
                name = base + "".join(f"{mark}{label}={value}" for label, value in labels.items())
            if isinstance(sample, HistogramSample):
                if sample.count:
                    above = sample.counts[spec.buckets.index(0.001) + 1 :]
                    timers[name] = sample.count, sum(above), sample.sum_ns / 1e9
            elif spec.kind is Kind.GAUGE:
                gauges[name] = sample.value
            elif sample.value:
                counters[name] = sample.value
    return counters, timers, gauges


def core(found):
    """Without the exporters' own, which this test's ledger does not hold."""
    return {name: value for name, value in found.items() if ".exporter" not in name and name.startswith("phoenixdkim.")}


class NpmStatsd:
    """npm's statsd, and what its admin interface tells."""

    def __init__(self, host="127.0.0.1"):
        self.port, self.admin = free_port(socket.SOCK_DGRAM), free_port()
        settings = (
            f'{{port: {self.port}, address: "{host}", address_ipv6: {str(host == "::1").lower()},'
            f' mgmt_port: {self.admin}, mgmt_address: "127.0.0.1",'
            # It keeps its totals for an hour; names are taken as they come, commas and all.
            " backends: [], flushInterval: 3600000, keyNameSanitize: false}"
        )
        assert STATSD.exists(), f"{STATSD} is missing; scripts/setup test installs it"
        self.program = Program(
            ["node", str(STATSD), "{home}/config.js"], lambda _: self.ask("health"), {"config.js": settings}
        )

    def ask(self, command):
        try:
            with socket.create_connection(("127.0.0.1", self.admin), timeout=10) as client:
                client.sendall(f"{command}\n".encode())
                answer = b""
                while not answer.endswith((b"END\n\n", b"health: up\n")):
                    data = client.recv(65536)
                    if not data:
                        break
                    answer += data
                return answer.decode()
        except ConnectionRefusedError:
            return ""

    def numbers(self, command):
        return {name: float(value) for name, value in re.findall(r"'([^']+)': ([\d.]+)", self.ask(command))}

    def timer_counts(self):
        """Values held for each timer; long lists are shown in part, with the number of those that are not."""
        found = {}
        for name, text in re.findall(r"'([^']+)': \[(.*?)\]", self.ask("timers"), re.DOTALL):
            more = re.search(r"\.\.\. (\d+) more item", text)
            shown = re.sub(r"\.\.\. .*", "", text)
            found[name] = len(re.findall(r"\d[\d.e-]*", shown)) + (int(more[1]) if more else 0)
        return found


@pytest.mark.parametrize(
    ("tags", "host"),
    [
        ("none", "127.0.0.1"),
        ("none", "::1"),
        ("datadog", "127.0.0.1"),
        ("influx", "127.0.0.1"),
        ("graphite", "127.0.0.1"),
    ],
)
def test_npms_statsd_has_every_number_of_the_ledger(key, tags, host):
    server = NpmStatsd(host)
    address = "[::1]" if host == "::1" else host
    with server.program, house_of(key, server.port, tags, address) as house:
        mixed_mail(house, 15)
        counters, timers, gauges = expected(house, tags)
        assert len(counters) > 12
        assert max(count for count, _, _ in timers.values()) > 40
        eventually("the numbers of now", lambda: core(server.numbers("counters")) == counters)
        found = server.numbers("counters")
        assert found["statsd.bad_lines_seen"] == 0
        assert server.timer_counts() == {name: count for name, (count, _, _) in timers.items()}
        assert not any("samples_missing" in name or "exporter.lost" in name for name in found)
        if tags == "none":
            truth = ledger(house)
            assert {name: found.get(name, 0) for name in NAMES} == {name: truth[NAMES[name]] for name in NAMES}
        assert core(eventually("no session", lambda: gauges_at_rest(server))) == gauges
        # What comes with the last tick of a clean stop is there too.
        mixed_mail(house, 1)
        counters, _, _ = expected(house, tags)
        assert house.stop() == 0
        eventually("the last tick", lambda: core(server.numbers("counters")) == counters)


def gauges_at_rest(server):
    found = server.numbers("gauges")
    return found if found.get("phoenixdkim.sessions") == 0 else None


class Collectd:
    """collectd with its statsd plugin; its csv plugin writes what it holds."""

    def __init__(self):
        self.port = free_port(socket.SOCK_DGRAM)
        config = f"""\
Hostname "h"
FQDNLookup false
Interval 1
PIDFile "{{home}}/pid"
BaseDir "{{home}}"
TypesDB "/usr/share/collectd/types.db"
LoadPlugin logfile
<Plugin logfile>
  LogLevel "info"
  File "{{home}}/log"
</Plugin>
LoadPlugin csv
<Plugin csv>
  DataDir "{{home}}/csv"
  StoreRates false
</Plugin>
LoadPlugin statsd
<Plugin statsd>
  Host "127.0.0.1"
  Port "{self.port}"
  TimerCount true
  TimerSum true
</Plugin>
"""
        self.program = Program(
            ["collectd", "-f", "-C", "{home}/collectd.conf"],
            lambda program: "Initialization complete" in self.log(),
            {"collectd.conf": config},
        )

    def log(self):
        path = self.program.home / "log"
        return path.read_text() if path.exists() else ""

    def values(self, kind):
        """All values written of one kind, by name."""
        found = {}
        for path in (self.program.home / "csv").glob(f"h/statsd/{kind}-*"):
            name = re.fullmatch(rf"{kind}-(.*)-\d{{4}}-\d\d-\d\d", path.name)[1]
            # The last line may be half written.
            lines = path.read_text().split("\n")[1:-1]
            found.setdefault(name, []).extend(float(line.rpartition(",")[2]) for line in lines)
        return found

    def counters(self):
        return {name: values[-1] for name, values in self.values("derive").items() if values}

    def timers(self):
        """Count and sum, over all its intervals."""
        counts, sums = self.values("gauge"), self.values("latency")
        return {
            name.removesuffix("-count"): (
                sum(v for v in values if v > 0),
                sum(v for v in sums.get(name.removesuffix("count") + "sum", ()) if v > 0),
            )
            for name, values in counts.items()
            if name.endswith("-count")
        }


def test_collectd_has_every_number_of_the_ledger(key):
    server = Collectd()
    with server.program, house_of(key, server.port) as house:
        mixed_mail(house, 15)
        counters, timers, gauges = expected(house, "none")
        eventually(
            "the numbers of now",
            lambda: server.counters().get("phoenixdkim.messages") == counters["phoenixdkim.messages"],
        )
        found = eventually("all written", lambda: (v := core(server.counters())) == counters and v)
        assert len(found) > 12
        # What it can't carry: it cuts timers to whole milliseconds, and those of none it does not count at all.
        wanted = {name: count for name, (_, count, _) in timers.items()}
        eventually("all timers written", lambda: {n: c for n, (c, _) in core(server.timers()).items()} == wanted)
        for name, (count, seconds) in core(server.timers()).items():
            whole, _, true = timers[name]
            assert true - whole * 0.001 <= seconds <= true
            assert (count > 0) == (seconds > 0)
        shown = {name: values[-1] for name, values in server.values("gauge").items() if not name.endswith("-count")}
        assert {name: shown.get(name) for name in gauges} == pytest.approx(gauges)
        assert "parse" not in server.log().lower()


@pytest.mark.parametrize("tags", ["influx", "graphite"])
def test_collectd_takes_tags_as_part_of_the_name(key, tags):
    server = Collectd()
    with server.program, house_of(key, server.port, tags) as house:
        mixed_mail(house, 1)
        counters, _, _ = expected(house, tags)
        eventually("the numbers of now", lambda: core(server.counters()) == counters)


def test_collectd_takes_no_datadog_tags_and_says_so(key):
    """What it can't carry: lines with tags of that dialect are refused by it; those without labels arrive."""
    server = Collectd()
    with server.program, house_of(key, server.port, "datadog") as house:
        mixed_mail(house, 1)
        counters, _, _ = expected(house, "datadog")
        without_labels = {name: value for name, value in counters.items() if ";" not in name}
        assert set(without_labels) == {"phoenixdkim.messages", "phoenixdkim.dns.queries"}
        eventually("those without labels", lambda: core(server.counters()) == without_labels)
        eventually("its refusal", lambda: "parse" in server.log().lower())
