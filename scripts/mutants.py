"""What mutation testing came to: the mutants that no test noticed, and how many were noticed of each file.

Run by scripts/parts/mutation, with the interpreter that has mutmut, where ``mutants`` is.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path

from mutmut.mutation.diff_apply import get_diff_for_mutant

NOTICED = {1: "killed", 3: "killed", 24: "timeout", 36: "timeout", -24: "timeout", 152: "timeout", 255: "timeout"}
UNNOTICED = {0: "survived", 5: "survived", 33: "no tests"}


def main(least: float) -> int:
    """Print the figures; 1 when fewer than ``least`` of a hundred mutants were noticed, or some were not run."""
    rows: dict[str, Counter[str]] = {}
    unnoticed = []
    for path in sorted(Path("mutants/src").rglob("*.meta")):
        name = str(path.relative_to("mutants/src/phoenixdkim")).removesuffix(".py.meta")
        for mutant, code in json.loads(path.read_text())["exit_code_by_key"].items():
            state = NOTICED.get(code) or UNNOTICED.get(code) or ("not run" if code is None else f"exit {code}")
            rows.setdefault(name, Counter())[state] += 1
            if code in UNNOTICED:
                unnoticed.append(mutant)
    for mutant in unnoticed:
        changes = [line for line in get_diff_for_mutant(mutant).splitlines() if line[:1] in "+-"]
        print(
            mutant,
            *(line[0] + " " + line[1:].strip() for line in changes if line[:3] not in ("---", "+++")),
            sep="\n  ",
        )
    total = sum(rows.values(), Counter())
    run = sum(total.values()) - total["not run"]
    noticed = total["killed"] + total["timeout"]
    for name, counts in [*rows.items(), ("all", total)]:
        print(f"{name:24}", ", ".join(f"{state} {number}" for state, number in sorted(counts.items())))
    share = 100 * noticed / run if run else 0.0
    print(f"noticed: {noticed} of {run} mutants, {share:.1f} %; {least:g} % is the least")
    return int(share < least or total["not run"] > 0)


if __name__ == "__main__":
    sys.exit(main(float(sys.argv[1])))
