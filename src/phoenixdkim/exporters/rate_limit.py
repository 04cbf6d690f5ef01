"""Rate limits for what plugins send: so many at once, and so many a second after that."""

from __future__ import annotations


class RateLimit:
    """A token bucket that counts what it refuses.

    Attributes:
        refused: how many were refused since ``take_refused``.
    """

    def __init__(self, burst: int, per_second: float) -> None:
        """Start with a full bucket."""
        self.refused = 0
        self._burst = float(burst)
        self._per_second = per_second
        self._tokens = float(burst)
        self._at: float | None = None

    def allows(self, now: float) -> bool:
        """Take a token; returns False, and counts, when there is none.

        Args:
            now: monotonic time in seconds.
        """
        if self.ready(now):
            self._tokens -= 1
            return True
        self.refused += 1
        return False

    def ready(self, now: float) -> bool:
        """Return whether there is a token."""
        if self._at is not None:
            self._tokens = min(self._burst, self._tokens + max(0.0, now - self._at) * self._per_second)
        self._at = now
        return self._tokens >= 1

    def take_refused(self) -> int:
        """Return how many were refused, and start again at 0."""
        refused, self.refused = self.refused, 0
        return refused
