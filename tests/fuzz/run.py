"""Runs the targets: with atheris guided by coverage, without it by plain mutation.

    scripts/fuzz                              all targets, 50,000 executions each
    scripts/fuzz tags keys --runs 1000000     these two, that many
    scripts/fuzz tags --replay FILE           one input again

An input that a target refuses is written to ``.fuzz`` with the command that replays it. The run then ends with
status 1.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import os
import re
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

HERE: Final = Path(__file__).resolve().parent
TARGETS: Final = sorted(path.stem for path in (HERE / "targets").glob("*.py") if path.stem != "__init__")
DAEMON: Final = "daemon"
"""The one target that is another process: no engine is guided by its coverage."""
RUNS: Final = 50_000


@dataclass(frozen=True)
class Ran:
    """What one target came to."""

    target: str
    engine: str
    executions: int
    seconds: float
    edges: int
    corpus: int
    status: int
    packets: int = 0

    def row(self) -> str:
        rate = self.executions / self.seconds if self.seconds else 0
        state = "ok" if not self.status else f"FAILED, exit {self.status}"
        edges = f"{self.edges:6}" if self.edges else "     -"
        if self.packets:
            return (
                f"{self.target:20} {self.engine:8} {self.executions:10} sequences  {self.seconds:8.1f} s"
                f" {rate:8.0f}/s {self.packets} packets  {state}"
            )
        return (
            f"{self.target:20} {self.engine:8} {self.executions:10} executions {self.seconds:8.1f} s"
            f" {rate:8.0f}/s {edges} edges {self.corpus:5} inputs kept  {state}"
        )


def arguments(given: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="scripts/fuzz", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=" ".join([*TARGETS, DAEMON]))
    parser.add_argument("--runs", type=int, default=RUNS, help="executions of each target")
    parser.add_argument("--seconds", type=int, default=0, help="end a target after that time, however many it ran")
    parser.add_argument("--seed", type=int, default=0, help="of the mutations; default another one each time")
    parser.add_argument("--engine", choices=["auto", "atheris", "plain"], default="auto")
    parser.add_argument("--corpus", type=Path, metavar="DIRECTORY", help="plain: more inputs to begin with")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="targets at once")
    parser.add_argument("--replay", type=Path, metavar="FILE", help="run one input and end")
    parser.add_argument("--worker", type=Path, metavar="SCRATCH", help=argparse.SUPPRESS)
    chosen = parser.parse_args(given)
    for target in chosen.targets:
        if target not in (*TARGETS, DAEMON):
            parser.error(f"no target '{target}'; the targets are: {' '.join([*TARGETS, DAEMON])}")
    if chosen.replay and len(chosen.targets) != 1:
        parser.error("--replay takes one target")
    if chosen.engine == "auto":
        chosen.engine = "atheris" if importlib.util.find_spec("atheris") else "plain"
    return chosen


def replay(target: str, file: Path) -> int:
    """One input, without any engine; a failure shows its traceback."""
    if target == DAEMON:
        from fuzz import through_daemon

        return through_daemon.replay(file)
    from fuzz.guard import Guard

    module = importlib.import_module(f"fuzz.targets.{target}")
    Guard(target, module.TARGET.execute, keep=False)(file.read_bytes())
    print(f"{target}: {file} runs as it should")
    return 0


def worker(chosen: argparse.Namespace) -> int:
    """One target, in this process."""
    if chosen.targets == [DAEMON]:
        from fuzz import through_daemon

        return through_daemon.run(chosen.runs, chosen.seconds, chosen.seed)
    if chosen.engine == "atheris":
        from fuzz import guided

        return guided.run(chosen.targets[0], chosen.runs, chosen.seconds, chosen.seed, chosen.worker)
    from fuzz import plain

    return plain.run(chosen.targets[0], chosen.runs, chosen.seconds, chosen.seed, chosen.corpus)


def run(target: str, chosen: argparse.Namespace) -> Ran:
    """One target, in a process of its own."""
    engine = "packets" if target == DAEMON else chosen.engine
    command = [sys.executable, str(HERE / "run.py"), target, "--engine", chosen.engine]
    command += ["--runs", str(chosen.runs), "--seconds", str(chosen.seconds), "--seed", str(chosen.seed)]
    started = time.monotonic()
    with tempfile.TemporaryFile() as log, tempfile.TemporaryDirectory(prefix="pdkim-fuzz-") as scratch:
        command += ["--worker", scratch]
        if chosen.corpus:
            command += ["--corpus", str(chosen.corpus)]
        status = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, check=False).returncode
        seconds = time.monotonic() - started
        log.seek(0)
        text = log.read().decode(errors="replace")
    if status:
        print(f"--- {target}\n{text[-6000:]}", flush=True)
    edges = [int(found) for found in re.findall(r"cov: (\d+)", text)]
    corpus = [int(found) for found in re.findall(r"corp: (\d+)", text)]
    executions = re.findall(r"(?:number_of_executed_units|executions): (\d+)", text)
    ran = Ran(
        target,
        engine,
        int(executions[-1]) if executions else 0,
        seconds,
        max(edges, default=0),
        max(corpus, default=0),
        status,
        sum(int(found) for found in re.findall(r"^packets: (\d+)", text, re.MULTILINE)),
    )
    if not status and not chosen.seconds and ran.executions < chosen.runs:
        # An engine that ends early and says nothing must not pass for one that ran.
        print(f"--- {target}\n{text[-6000:]}", flush=True)
        return Ran(target, engine, ran.executions, seconds, ran.edges, ran.corpus, 3)
    return ran


def main(given: list[str]) -> int:
    chosen = arguments(given)
    if chosen.replay:
        return replay(chosen.targets[0], chosen.replay)
    if chosen.worker:
        return worker(chosen)
    if chosen.engine == "plain":
        print("plain mutation, not guided by coverage")
    failed = False
    with ThreadPoolExecutor(chosen.jobs) as pool:
        for ran in pool.map(lambda target: run(target, chosen), chosen.targets or [DAEMON, *TARGETS]):
            print(ran.row(), flush=True)
            failed = failed or ran.status != 0
    return int(failed)


if __name__ == "__main__":
    sys.path.insert(0, str(HERE.parent))
    # The directory of a script comes first by itself; its modules are known as fuzz.* only.
    sys.path.remove(str(HERE))
    sys.exit(main(sys.argv[1:]))
