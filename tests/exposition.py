"""The text format as a mapping of series to values, read by prometheus_client's parser."""

from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families

from phoenixdkim.metrics import CATALOGUE, Kind

Series = tuple[str, tuple[tuple[str, str], ...]]


def read_text(text: str) -> dict[Series, float]:
    """Value of each series, by name and sorted labels."""
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def dotted_series(prefix: str = "phoenixdkim.") -> dict[str, Series]:
    """Dotted name of each series of a counter that counts an event, and the series."""
    found: dict[str, Series] = {}
    for spec in CATALOGUE:
        if spec.kind is Kind.COUNTER and spec.event is not None:
            for event in spec.event.combinations():
                labels = {name: event.labels()[name] for name in spec.labels}
                found[prefix + spec.dotted_name(labels)] = (spec.name, tuple(sorted(labels.items())))
    return found
