"""The JSON Schema of the configuration file, for editors."""

from __future__ import annotations

import json
from typing import Any, Final

from phoenixdkim.config.model import Config

_DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"


def schema() -> dict[str, Any]:
    """The schema as a dictionary."""
    made = Config.model_json_schema(by_alias=True)
    return {"$schema": _DIALECT, **made, "title": "PhoenixDKIM configuration"}


def schema_text() -> str:
    """The schema as JSON text."""
    return json.dumps(schema(), indent=2, ensure_ascii=False) + "\n"
