"""The engine without coverage: seeds, mutated at random."""

from __future__ import annotations

import importlib
import random
import time
from collections.abc import Sequence
from pathlib import Path

from fuzz.guard import Guard


def run(name: str, runs: int, seconds: int, seed: int, corpus: Path | None) -> int:
    """Run a target that many times, or for that long, from its seeds and from what atheris has kept in ``corpus``."""
    target = importlib.import_module(f"fuzz.targets.{name}").TARGET
    guard = Guard(name, target.execute)
    seed = seed or random.SystemRandom().getrandbits(32)
    print(f"seed: {seed}", flush=True)
    chance = random.Random(seed)
    seeds = list(target.seeds())
    if corpus is not None:
        seeds += [path.read_bytes() for path in sorted(corpus.iterdir())]
    ends = time.monotonic() + seconds if seconds else float("inf")
    done = 0
    for data in seeds:
        guard(data)
        done += 1
    while done < runs and time.monotonic() < ends:
        guard(mutate(chance, seeds, target.words)[: target.max_octets])
        done += 1
    print(f"executions: {done}", flush=True)
    return 0


def mutate(chance: random.Random, seeds: Sequence[bytes], words: Sequence[bytes]) -> bytes:
    """A seed with one to eight changes."""
    data = bytearray(chance.choice(seeds))
    for _ in range(chance.randint(1, 8)):
        at = chance.randint(0, len(data))
        end = min(len(data), at + chance.choice((1, 1, 2, 4, 16, 64)))
        way = chance.randrange(6)
        if way == 0:
            data[at:end] = chance.randbytes(end - at)
        elif way == 1:
            del data[at:end]
        elif way == 2:
            data[at:at] = data[at:end] * chance.randint(1, 4)
        elif way == 3 and words:
            data[at:at] = chance.choice(words)
        elif way == 4 and words:
            data[at:end] = chance.choice(words)
        else:
            other = chance.choice(seeds)
            begin = chance.randint(0, len(other))
            data[at:at] = other[begin : begin + chance.choice((4, 16, 64, 256))]
    return bytes(data)
