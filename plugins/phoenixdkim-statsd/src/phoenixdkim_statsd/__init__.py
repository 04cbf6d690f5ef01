"""StatsD exporter for PhoenixDKIM."""

__version__ = "0.1.0"
