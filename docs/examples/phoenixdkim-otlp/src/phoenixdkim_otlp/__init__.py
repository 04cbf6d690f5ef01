"""OpenTelemetry exporter for PhoenixDKIM: metrics over OTLP/HTTP."""

__version__ = "0.1.0"
