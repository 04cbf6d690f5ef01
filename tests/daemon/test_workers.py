"""Workers that are killed: only their sessions feel it, they are replaced at once, counters never fall."""

from __future__ import annotations

import os
import signal
import threading
import time
import urllib.request

import pytest

from daemon.house import PATIENCE, House, Load, signed


def scrape(port):
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
        text = answer.read().decode()
    return {
        line.rpartition(" ")[0]: float(line.rpartition(" ")[2])
        for line in text.splitlines()
        if not line.startswith("#")
    }


def counters(found):
    return {name: value for name, value in found.items() if "_total" in name or "_bucket" in name or "_count" in name}


@pytest.mark.parametrize("victims", [1, 4])
def test_killed_workers_under_load(key, free_port, victims):
    with House(key, exporters=f'[exporters.http]\nlisten = "127.0.0.1:{free_port}"') as house:
        before = {}
        fell = []
        ending = threading.Event()

        def watch():
            while not ending.is_set():
                now = counters(scrape(free_port))
                fell.extend(name for name, value in before.items() if now.get(name, 0) < value)
                before.update(now)
                time.sleep(0.01)

        time.sleep(0.3)
        watcher = threading.Thread(target=watch)
        watcher.start()
        with Load(house, 16, messages=2000) as load:
            for _ in range(victims):
                time.sleep(0.15)
                pid = house.workers()[0]
                os.kill(pid, signal.SIGKILL)
                deadline = time.monotonic() + PATIENCE
                while len(house.workers()) < 2 or pid in house.workers():
                    assert time.monotonic() < deadline, "no new worker"
                    time.sleep(0.01)
            load.join()
        ending.set()
        watcher.join()
        assert fell == []
        # Sixteen connections on two workers: a killed one can't have had more than sixteen.
        assert 0 < len(load.bad) <= 16 * victims
        assert load.good + len(load.bad) == 2000
        assert signed(house.send())
        found = scrape(free_port)
        assert found["phoenixdkim_worker_restarts_total"] == victims
        assert found["phoenixdkim_messages_total"] >= load.good + 1
        assert found["phoenixdkim_messages_total"] <= 2001
        deadline = time.monotonic() + PATIENCE
        while scrape(free_port)["phoenixdkim_sessions"] != 0:
            assert time.monotonic() < deadline, "a dead worker's sessions are still shown"
            time.sleep(0.05)


def test_a_killed_leader_is_replaced_and_its_workers_go_on_until_then(key):
    with House(key) as house:
        leader = min(pid for pid in house.descendants() if pid not in house.workers())
        with Load(house, 4) as load:
            time.sleep(0.3)
            os.kill(leader, signal.SIGKILL)
            house.wait_for("the workers have a leader again")
            time.sleep(1.0)
        assert load.bad == []
        deadline = time.monotonic() + PATIENCE
        while len(house.workers()) != 2:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert leader not in house.descendants()
        assert signed(house.send())
        assert house.stop() == 0


def test_more_sessions_than_allowed_are_put_off(key):
    with House(key, workers=1) as house:
        house.config.write_text(house.text.replace("workers = 1", "workers = 1\nmax_sessions = 3"))
        house.signal(signal.SIGHUP)
        house.wait_for("reloaded")
        clients = [house.client() for _ in range(3)]
        for client in clients:
            client.open_session()
        with house.client() as fourth:
            reply = fourth.send_message([(b"From", b" a@example.com")], b"x\r\n")
            assert reply.smtp.startswith(b"421 4.3.2")
        for client in clients:
            client.close()
        assert "unsigned=overloaded" in house.log()
        time.sleep(0.2)
        assert signed(house.send())
