"""DKIM as arithmetic on bytes: no socket, no file, no clock of its own."""
