"""When to tell how far long work has come, and how long it will take."""

from __future__ import annotations

import time

EVERY_SECONDS = 10.0


class Clock:
    """Work of a known size, told of every few seconds."""

    def __init__(self, total: int) -> None:
        """`total` in any unit; work begins now."""
        self._total = max(total, 1)
        self._first: int | None = None
        self.started = self._told = time.monotonic()

    def tick(self, done: int) -> str:
        """`3.2 min left` when `done` of the total are behind and it is time to tell again, else an empty string.

        What was done before the first tick (an interrupted attempt) takes no time.
        """
        now = time.monotonic()
        if self._first is None:
            self._first = done
        if now - self._told < EVERY_SECONDS:
            return ""
        self._told = now
        left = (now - self.started) * (self._total - done) / max(done - self._first, 1)
        return f"{left / 60:.1f} min left"
