"""What the dashboard's queries show of a daemon under a load that swells, with a DNS failure in the midst of it."""

from __future__ import annotations

import json
import math
import random
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from daemon.traffic import ED, LETTERS, RSA, BusyHouse
from interop.peers import KeyPair
from phoenixdkim.testing.dns_server import Behaviour, Fault, txt
from receivers.expressions import of_the_dashboard
from receivers.programs import free_port
from receivers.prometheus_server import Prometheus
from signed_mail import zone

SECONDS = 210
FAILURE = (100, 140)
"""Seconds between which DNS does not answer."""
FIRST = 16
"""The first second that is drawn: rates look back for 15."""
CLIENTS = 4
PEAK = 25.0
"""Messages a second of one client at most."""


class Clients:
    """Threads that send letters, more and fewer of them as time goes by."""

    def __init__(self, house: BusyHouse) -> None:
        self._house = house
        self._started = time.monotonic()
        self._ending = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(n,), daemon=True) for n in range(CLIENTS)]

    @contextmanager
    def at_work(self) -> Iterator[None]:
        for thread in self._threads:
            thread.start()
        try:
            yield
        finally:
            self._ending.set()
            for thread in self._threads:
                thread.join()

    def _run(self, seed: int) -> None:
        chance = random.Random(seed)
        letters = list(LETTERS.values())
        # What fails is made rarer than in a round of tests, where each kind has to come.
        weights = [8.0 * letter.times if letter.times > 1 else 1.0 for letter in letters]
        while not self._ending.is_set():
            self._house.post(chance.choices(letters, weights)[0])
            swell = 0.55 + 0.45 * math.sin((time.monotonic() - self._started) / SECONDS * 2 * math.pi - 1)
            self._ending.wait(chance.expovariate(PEAK * swell))


def main() -> int:
    """Write expressions, legends and values by panel to the file that is named."""
    http = free_port()
    exporters = f'[exporters.http]\nlisten = "127.0.0.1:{http}"\n'
    names = {key: f"{key.selector.decode()}._domainkey.{key.domain.decode()}" for key in (RSA, ED)}
    good = {
        name: Behaviour((txt(*zone(key).popitem()[1]),), ttl=2, delay=delay)
        for (key, name), delay in zip(names.items(), (0.004, 0.02), strict=True)
    }
    with (
        BusyHouse(KeyPair.rsa("example.com"), exporters) as house,
        Prometheus([f"127.0.0.1:{http}"]) as server,
    ):
        for name, behaviour in good.items():
            house.dns.set(name, behaviour)
        started = time.time()
        with Clients(house).at_work():
            time.sleep(FAILURE[0])
            for name in good:
                house.dns.set(name, Behaviour(fault=Fault.DROP))
            time.sleep(FAILURE[1] - FAILURE[0])
            for name, behaviour in good.items():
                house.dns.set(name, behaviour)
            time.sleep(SECONDS - FAILURE[1])
        found = [
            {
                "title": title,
                "query": query,
                "series": server.get(
                    "query_range",
                    query=query.replace("[1m]", "[15s]"),
                    start=str(started + FIRST),
                    end=str(started + SECONDS),
                    step="2",
                )["result"],
            }
            for title, query in of_the_dashboard()
        ]
    failure = [second - FIRST for second in FAILURE]
    Path(sys.argv[1]).write_text(json.dumps({"failure": failure, "queries": found}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
