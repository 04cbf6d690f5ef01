"""PhoenixDKIM: a DKIM signing and verifying milter whose core emits typed events."""

__version__ = "0.1.0"
