"""The engine that is guided by coverage: atheris, in this process."""

from __future__ import annotations

import importlib
from pathlib import Path

import atheris

from fuzz.guard import Guard


def run(name: str, runs: int, seconds: int, seed: int, scratch: Path) -> int:
    """Run a target; ends the process without any clean-up, as libFuzzer does.

    Args:
        scratch: a directory that the caller removes.
    """
    with atheris.instrument_imports(include=["phoenixdkim"]):
        target = importlib.import_module(f"fuzz.targets.{name}").TARGET
    corpus = scratch / "corpus"
    corpus.mkdir()
    for number, data in enumerate(target.seeds()):
        (corpus / f"{number:04}").write_bytes(data)
    words = scratch / "words"
    words.write_text("".join(f'"{_escaped(word)}"\n' for word in target.words))
    options = [
        f"-runs={runs}",
        f"-max_len={target.max_octets}",
        f"-dict={words}",
        "-print_final_stats=1",
        # Seeds that reach nothing new in our code may yet in a library's.
        "-keep_seed=1",
        # The guard measures processor time; this is for a hang in C, and generous on a busy machine.
        "-timeout=60",
        "-rss_limit_mb=2048",
        f"-artifact_prefix={scratch}/",
    ]
    if seconds:
        options.append(f"-max_total_time={seconds}")
    if seed:
        options.append(f"-seed={seed}")
    atheris.Setup([name, *options, str(corpus)], Guard(name, target.execute))
    atheris.Fuzz()
    return 0


def _escaped(word: bytes) -> str:
    return "".join(f"\\x{octet:02x}" for octet in word)
