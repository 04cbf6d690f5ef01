"""Prometheus exporters for PhoenixDKIM: textfile and HTTP."""

__version__ = "0.1.0"
