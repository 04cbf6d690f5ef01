"""StatsD lines: names, tags and values in four dialects."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from phoenixdkim.metrics import MetricSpec


class Tags(StrEnum):
    """How labels are written."""

    NONE = "none"
    DATADOG = "datadog"
    INFLUX = "influx"
    GRAPHITE = "graphite"


def base_name(spec: MetricSpec) -> str:
    """The dotted name without the parts that stand for labels."""
    dotted = spec.dotted_name(dict.fromkeys(spec.labels, "\x00"))
    return ".".join(part for part in dotted.split(".") if part != "\0")


def line(prefix: str, dialect: Tags, spec: MetricSpec, labels: Mapping[str, str], value: str, kind: str) -> bytes:
    """One line without its newline.

    Args:
        prefix: before the name; empty for none.
        dialect: how labels are written.
        spec: the metric; its dotted name is the catalogue's.
        labels: names and values; members of enums or constants, which hold none of StatsD's special characters.
        value: the number as text.
        kind: ``c``, ``g`` or ``ms``.
    """
    dot = f"{prefix}." if prefix else ""
    if dialect is Tags.NONE or not labels:
        text = f"{dot}{spec.dotted_name(labels)}:{value}|{kind}"
    else:
        name = f"{dot}{base_name(spec)}"
        if dialect is Tags.DATADOG:
            tags = ",".join(f"{label}:{text}" for label, text in labels.items())
            text = f"{name}:{value}|{kind}|#{tags}"
        else:
            mark = "," if dialect is Tags.INFLUX else ";"
            tags = "".join(f"{mark}{label}={text}" for label, text in labels.items())
            text = f"{name}{tags}:{value}|{kind}"
    return text.encode("ascii", "replace")
