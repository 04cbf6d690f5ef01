"""PhoenixDKIM: a DKIM signing and verifying milter whose core emits typed events."""

import os

__version__ = "0.1.0"

# pydantic imports the entry points of group "pydantic" of every installed package when the first model is defined.
# A package that merely is installed runs no code in our processes. This runs before any import of pydantic by us.
os.environ["PYDANTIC_DISABLE_PLUGINS"] = "__all__"
