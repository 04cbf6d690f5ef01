"""Exporters of installed packages, found by their entry points. No code of a package runs here.

Metadata of any package may be damaged: that must not take the other packages' exporters away.
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Final

from phoenixdkim.hookspecs import ENTRY_POINT_GROUP

_MAX_TEXT: Final = 200


@dataclass(frozen=True, slots=True)
class InstalledExporter:
    """An exporter's entry point.

    Attributes:
        name: the exporter's name, the value of option ``type``.
        value: module and object, as in ``package.module:Class``.
        package: the package that has it, with its version where it can be read.
        load: imports the module and returns the object.
    """

    name: str
    value: str
    package: str
    load: Callable[[], object] = field(repr=False)

    def __str__(self) -> str:
        return f"plugin '{self.name}' ({self.package}, {self.value})"


@dataclass(frozen=True, slots=True)
class Packages:
    """What is installed.

    Attributes:
        exporters: exporters by name; several of one name are of several packages.
        damaged: where the metadata is that cannot be read.
    """

    exporters: dict[str, list[InstalledExporter]]
    damaged: tuple[str, ...]


def read_packages() -> Packages:
    """Read the metadata of all installed packages."""
    exporters: dict[str, list[InstalledExporter]] = {}
    damaged: list[str] = []
    seen: set[str] = set()
    for distribution in importlib.metadata.distributions():
        try:
            name = _name(distribution)
            # The first one on the path hides later ones of the same name, as with imports.
            found = [] if name in seen else _exporters(distribution, name)
        except Exception:  # noqa: BLE001 - the reader of damaged metadata may raise anything
            damaged.append(_plain(getattr(distribution, "_path", "unknown")))
            continue
        seen.add(name)
        for one in found:
            exporters.setdefault(one.name, []).append(one)
    return Packages(exporters, tuple(damaged))


def installed() -> dict[str, list[InstalledExporter]]:
    """Exporters of all installed packages, by name."""
    return read_packages().exporters


def plugin_name(kind: str) -> str:
    """Return an exporter's name, package and object, for messages."""
    entries = installed().get(kind, [])
    return str(entries[0]) if entries else f"plugin '{_plain(kind)}'"


def find_exporter(kind: str) -> InstalledExporter:
    """Return the installed exporter of this name.

    Raises:
        LookupError: there is none, or more than one.
    """
    packages = read_packages()
    entries = packages.exporters.get(kind, [])
    if not entries:
        near = get_close_matches(kind, packages.exporters, 1)
        names = ", ".join(sorted(packages.exporters)) or "none"
        hint = f"did you mean '{near[0]}'?" if near else f"installed are: {names}"
        if packages.damaged:
            places = ", ".join(packages.damaged[:3]) + (", ..." if len(packages.damaged) > 3 else "")
            hint += f" (cannot read the metadata in {places}; reinstall these packages)"
        raise LookupError(f"no installed package has an exporter '{_plain(kind)}'; {hint}")
    if len({entry.value for entry in entries}) > 1:
        names = ", ".join(sorted(entry.package for entry in entries))
        raise LookupError(f"several packages have an exporter '{kind}': {names}; uninstall all but one")
    return entries[0]


def _name(distribution: importlib.metadata.Distribution) -> str:
    name = distribution.metadata["Name"]
    if not isinstance(name, str) or not name.strip():
        raise ValueError("the package has no name")
    return name


def _exporters(distribution: importlib.metadata.Distribution, name: str) -> list[InstalledExporter]:
    points = distribution.entry_points.select(group=ENTRY_POINT_GROUP)
    return [
        InstalledExporter(_plain(point.name), _plain(point.value), _package(distribution, name), point.load)
        for point in points
    ]


def _package(distribution: importlib.metadata.Distribution, name: str) -> str:
    try:
        version: object = distribution.version
        return _plain(f"{name} {version}" if isinstance(version, str) else name)
    except Exception:  # noqa: BLE001 - as above; a package without version has a name at least
        return _plain(name)


def _plain(text: object) -> str:
    shown = str(text)[:_MAX_TEXT]
    return "".join(c if c.isprintable() else "?" for c in shown)
