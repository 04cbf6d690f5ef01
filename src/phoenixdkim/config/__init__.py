"""The configuration file: its model, its faults, and what the daemon makes of it."""
