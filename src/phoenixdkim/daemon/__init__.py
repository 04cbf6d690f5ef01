"""The daemon's processes: a supervisor, generations of workers, and exporters."""
