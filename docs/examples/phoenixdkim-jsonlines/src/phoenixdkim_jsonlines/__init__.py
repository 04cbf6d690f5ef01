"""Exporter for PhoenixDKIM that writes events to a file, one JSON object a line."""

__version__ = "0.1.0"
