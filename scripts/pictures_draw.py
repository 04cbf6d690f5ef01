"""Draws panels of the dashboard as SVG from what ``pictures_data.py`` wrote."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

Panel = list[dict[str, Any]]
PICTURES = {
    "messages": ("Messages by what was done", "Time that a message takes, 95th percentile", "Signatures made"),
    "verifying": ("Verified messages, by result", "Evaluated signatures, by algorithm", "Keys, by DNSSEC status"),
    "dns": ("Questions, by how they ended", "Time that a question takes", "Key cache"),
}
STACKED = {"Time that a message takes, 95th percentile": False, "Time that a question takes": False}
UNITS = {
    "Time that a message takes, 95th percentile": "seconds",
    "Time that a question takes": "seconds",
    "Key cache": "share of names",
    "Messages by what was done": "messages a second",
    "Verified messages, by result": "messages a second",
    "Questions, by how they ended": "questions a second",
}
BLUE, ORANGE, GREEN, PINK, SKY, RED, YELLOW, GREY = (
    "#0072b2",
    "#e69f00",
    "#009e73",
    "#cc79a7",
    "#56b4e9",
    "#d55e00",
    "#f0e442",
    "#8c8c8c",
)
"""Told apart by colour-blind readers too (Okabe and Ito)."""
COLOURS = {
    "sign": BLUE,
    "verify": GREEN,
    "pass": SKY,
    "rsa-sha256": BLUE,
    "ed25519-sha256": GREEN,
    "rsa-sha1": ORANGE,
    "other": GREY,
    "none": GREY,
    "neutral": YELLOW,
    "policy": BLUE,
    "permerror": ORANGE,
    "fail": PINK,
    "temperror": RED,
    "secure": BLUE,
    "insecure": GREEN,
    "unknown": GREY,
    "bogus": ORANGE,
    "unavailable": RED,
    "success": GREEN,
    "error": ORANGE,
    "timeout": RED,
    "hit": GREEN,
    "negative_hit": SKY,
    "miss": ORANGE,
    "median": GREEN,
    "95 of 100": ORANGE,
    "99 of 100": RED,
}
"""In the order in which they are stacked."""


def draw(axes: Axes, title: str, queries: Panel, failure: tuple[float, float]) -> None:
    """One panel; ``failure`` are the seconds in which DNS did not answer."""
    curves: list[tuple[str, list[float], list[float]]] = []
    for query in queries:
        for series in query["series"]:
            times = [float(when) for when, _ in series["values"]]
            values = [0.0 if value == "NaN" else float(value) for _, value in series["values"]]
            labels = [text for name, text in series["metric"].items() if name != "__name__"]
            quantile = query["query"].partition("histogram_quantile(")[2].partition(",")[0]
            label = " ".join(labels) or {"0.5": "median", "0.95": "95 of 100", "0.99": "99 of 100"}.get(quantile, title)
            if any(values):
                curves.append((label, times, values))
    if not curves:
        raise SystemExit(f"{title}: there is nothing to draw")
    order = list(COLOURS)
    curves.sort(key=lambda curve: order.index(curve[0]))
    start = min(times[0] for _, times, _ in curves)
    everything = sorted({when for _, times, _ in curves for when in times})
    rows = [
        [dict(zip(times, values, strict=True)).get(when, 0.0) for when in everything] for _, times, values in curves
    ]
    seconds = [when - start for when in everything]
    names = [label for label, _, _ in curves]
    colours = [COLOURS[name] for name in names]
    if STACKED.get(title, True):
        axes.stackplot(seconds, rows, labels=names, colors=colours, alpha=0.85, linewidth=0)
    else:
        for row, name, colour in zip(rows, names, colours, strict=True):
            axes.plot(seconds, row, label=name, color=colour, linewidth=1.4)
    axes.axvspan(*failure, color="#000000", alpha=0.08, linewidth=0)
    axes.set_title(title, fontsize=10, loc="left")
    axes.set_ylabel(UNITS.get(title, "signatures a second"), fontsize=8)
    axes.set_xlabel("seconds", fontsize=8)
    axes.set_xlim(0, seconds[-1])
    axes.set_ylim(bottom=0)
    axes.tick_params(labelsize=8)
    axes.grid(axis="y", color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    axes.legend(fontsize=7.5, ncols=3, loc="upper center", bbox_to_anchor=(0.5, -0.2), frameon=False)


def main() -> int:
    """Draw all pictures into the directory that is named."""
    mpl.rcParams |= {"svg.fonttype": "none", "svg.hashsalt": "phoenixdkim", "font.family": "sans-serif"}
    panels: dict[str, Panel] = {}
    found = json.loads(Path(sys.argv[1]).read_text())
    for query in found["queries"]:
        panels.setdefault(query["title"], []).append(query)
    directory = Path(sys.argv[2])
    directory.mkdir(parents=True, exist_ok=True)
    for name, titles in PICTURES.items():
        figure = Figure(figsize=(12.5, 3.6), facecolor="white", layout="constrained")
        for axes, title in zip(figure.subplots(1, len(titles)), titles, strict=True):
            draw(axes, title, panels[title], found["failure"])
        for ending in ("svg", *sys.argv[3:]):
            metadata = {"Date": None} if ending == "svg" else None
            figure.savefig(directory / f"{name}.{ending}", metadata=metadata, dpi=80)
        path = directory / f"{name}.svg"
        # A hundredth of a point is more than anyone sees, and a third of the octets.
        path.write_text(re.sub(r"(\.\d\d)\d+", r"\1", path.read_text()))
        print(f"drew {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
