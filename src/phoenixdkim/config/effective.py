"""The whole configuration in force, defaults included, as TOML that can be read again."""

from __future__ import annotations

import tomli_w

from phoenixdkim.config.model import Config


def effective(config: Config) -> str:
    """The configuration as TOML; exporters' tables as they were written."""
    tables = config.model_dump(mode="json", by_alias=True)
    return tomli_w.dumps(tables)
