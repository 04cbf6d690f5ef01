"""Exporters: find, check and run plugins, each in a process of its own."""
