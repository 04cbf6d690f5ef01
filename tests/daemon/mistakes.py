"""Packages of exporters with the mistakes that authors make, and ones that were made on purpose.

Each is a module of its own with an entry point of its own; ``write`` puts them where an environment's packages are.
``EXPECTED`` has for each what its refusal must say.
"""

from __future__ import annotations

import shutil
import sysconfig
from pathlib import Path
from typing import Final

_HEAD: Final = """\
from collections.abc import Sequence
from enum import Enum, Flag, StrEnum
from phoenixdkim.events import Event
from phoenixdkim.hookspecs import hookimpl
from phoenixdkim.metrics import Kind, MetricSpec
from phoenixdkim.options import Options

class Colour(StrEnum):
    RED = "red"
"""
_PLUGIN: Final = """
class Exporter:
    api_version = 1

    @hookimpl
    def phoenixdkim_tick(self, now: float) -> None: ...
"""


def _metric(labels: str, name: str = "phoenixdkim_exporter_bad_total", before: str = "") -> str:
    return f"""{_HEAD}{before}{_PLUGIN}
    @hookimpl
    def phoenixdkim_metrics(self):
        return [MetricSpec("{name}", Kind.COUNTER, "Bad.", {labels})]
"""


def _hook(text: str) -> str:
    return f"{_HEAD}{_PLUGIN}\n{text}"


REFUSED: Final = {
    "free_label": _metric('{"who": str}'),
    "large_enum": _metric('{"who": Enum("Large", {f"M{n}": f"v{n}" for n in range(500)})}'),
    "on_demand": _metric(
        '{"who": Any}',
        before="""
class Any(StrEnum):
    A = "a"

    @classmethod
    def _missing_(cls, value):
        return cls.A
""",
    ),
    "flags": _metric('{"who": Bits}', before="\nclass Bits(Flag):\n    A = 1\n"),
    "reserved_label": _metric('{"domain": Colour}'),
    "core_name": _metric("{}", "phoenixdkim_messages_total"),
    "wrong_annotation": _hook("    @hookimpl\n    def phoenixdkim_event(self, event: str, count: int) -> None: ...\n"),
    "misspelt": _hook("    @hookimpl\n    def phoenixdkim_evnt(self, event: Event) -> None: ...\n"),
    "unmarked": _hook("    def phoenixdkim_stop(self, deadline: float) -> None: ...\n"),
    "extra_argument": _hook("    @hookimpl\n    def phoenixdkim_event(self, event, domain): ...\n"),
    "default": _hook("    @hookimpl\n    def phoenixdkim_event(self, event, count=1): ...\n"),
    "wrapper": _hook("    @hookimpl(wrapper=True)\n    def phoenixdkim_event(self, event):\n        return (yield)\n"),
    "old_wrapper": _hook("    @hookimpl(hookwrapper=True)\n    def phoenixdkim_event(self, event):\n        yield\n"),
    "optional": _hook("    @hookimpl(optionalhook=True)\n    def phoenixdkim_evnt(self, event): ...\n"),
    "other_name": _hook('    @hookimpl(specname="phoenixdkim_event")\n    def on_event(self, event): ...\n'),
    "first": _hook("    @hookimpl(tryfirst=True)\n    def phoenixdkim_event(self, event): ...\n"),
    "last": _hook("    @hookimpl(trylast=True)\n    def phoenixdkim_event(self, event): ...\n"),
    "coroutine": _hook("    @hookimpl\n    async def phoenixdkim_event(self, event): ...\n"),
    "other_version": f"{_HEAD}{_PLUGIN}".replace("api_version = 1", "api_version = 2"),
    "no_version": f"{_HEAD}{_PLUGIN}".replace("api_version = 1", "pass"),
    "fails": "import no_such_dependency\n",
    "no_class": "class Somebody: ...\n",
    "needs_arguments": f"{_HEAD}\nclass Exporter:\n    api_version = 1\n\n    def __init__(self, path): ...\n",
}
"""Modules that a check refuses, by entry point."""

ABSENT: Final = {
    "hangs": "import time\ntime.sleep(1000)\n",
    "spins": "import re\nre.match(r'(a+)+$', 'a' * 64 + 'b')\n",
    "exits": "import os\nos._exit(7)\n",
    "crashes": "import ctypes\nctypes.string_at(8)\n",
}
"""Modules that a check can say nothing of."""

EXPECTED: Final = {
    "free_label": "metric 'phoenixdkim_exporter_bad_total': label 'who' is of type str; a label must be an Enum",
    "large_enum": "label 'who': enum Large has 500 members; 64 is the most",
    "on_demand": "label 'who': enum Any has a _missing_ method",
    "flags": "label 'who': Bits is a Flag",
    "reserved_label": "label 'domain' is reserved",
    "core_name": "metric 'phoenixdkim_messages_total': a plugin's metric starts with 'phoenixdkim_exporter_'",
    "wrong_annotation": "'phoenixdkim_event': 'event' is annotated str; the hook has Event",
    "misspelt": "there is no hook 'phoenixdkim_evnt'; did you mean 'phoenixdkim_event'?",
    "unmarked": "'phoenixdkim_stop' is not marked with @hookimpl",
    "extra_argument": "'phoenixdkim_event': there is no argument 'domain'; it may take: event, count, samples",
    "default": "'phoenixdkim_event': argument 'count' has a default",
    "wrapper": "'phoenixdkim_event': @hookimpl(wrapper=…) is not allowed",
    "old_wrapper": "'phoenixdkim_event': @hookimpl(hookwrapper=…) is not allowed",
    "optional": "'phoenixdkim_evnt': @hookimpl(optionalhook=…) is not allowed",
    "other_name": "'on_event': @hookimpl(specname=…) is not allowed",
    "first": "'phoenixdkim_event': @hookimpl(tryfirst=…) is not allowed",
    "last": "'phoenixdkim_event': @hookimpl(trylast=…) is not allowed",
    "coroutine": "'phoenixdkim_event' is a coroutine or generator, which would never run",
    "other_version": "it is written for API version 2, and this daemon has version 1",
    "no_version": "it does not say which API version it is written for; add 'api_version = 1' to its class",
    "fails": "it can't be imported: ModuleNotFoundError: No module named 'no_such_dependency'",
    "no_class": "it can't be imported: AttributeError: module 'phoenixdkim_mistake_no_class' has no attribute",
    "needs_arguments": "its class can't be called: TypeError: Exporter.__init__() missing 1 required",
    "hangs": "it hangs: no answer to its check in",
    "spins": "it hangs: no answer to its check in",
    "exits": "it ended its process while it was checked (exit status 7)",
    "crashes": "it ended its process while it was checked (signal SIGSEGV)",
}


class Installed:
    """The modules as one installed package; ``remove`` takes it away."""

    def __init__(self, modules: dict[str, str], package: str = "phoenixdkim-mistakes") -> None:
        site = Path(sysconfig.get_path("purelib"))
        self._made = [site / f"phoenixdkim_mistake_{name}.py" for name in modules]
        for path, text in zip(self._made, modules.values(), strict=True):
            path.write_text(text)
        self._metadata = site / f"{package.replace('-', '_')}-1.0.dist-info"
        shutil.rmtree(self._metadata, ignore_errors=True)
        self._metadata.mkdir()
        (self._metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
        points = "".join(f"{name} = phoenixdkim_mistake_{name}:Exporter\n" for name in modules)
        (self._metadata / "entry_points.txt").write_text(f"[phoenixdkim.exporters]\n{points}")

    def remove(self) -> None:
        """Take the package away."""
        shutil.rmtree(self._metadata)
        for path in self._made:
            path.unlink()
