"""The milter: a session without I/O, and engines that drive it."""
