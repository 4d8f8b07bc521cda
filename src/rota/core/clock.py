"""Two clocks behind one interface: a virtual one that skips to the next event, and the wall's, which waits for it.

A driver is written once: it asks its policy, then waits until the next planned instant or until something arrives.
"""

from __future__ import annotations

import asyncio
import math
import threading
import time
from typing import Protocol

from rota.core.errors import InputError


class Clock(Protocol):
    """Tells the time in seconds since its start, and waits."""

    def now(self) -> float:
        """Present time, seconds; never goes back."""
        ...

    def interrupt(self) -> None:
        """Something has arrived: end the wait in progress, or the next one if none is."""
        ...

    async def wait(self, until: float = math.inf) -> bool:
        """Wait until the time `until`, or until `interrupt`. True if it was interrupted."""
        ...


class VirtualClock:
    """Time of a simulation: it stands still until it is told to move, and then moves at once."""

    def __init__(self, start: float = 0.0) -> None:
        self._now = start
        self._interrupted = False

    def now(self) -> float:
        """Present time, seconds."""
        return self._now

    def advance(self, to: float) -> None:
        """Skip to the time `to`.

        Raises:
            InputError: `to` is in the past, infinite or NaN.
        """
        if not self._now <= to < math.inf:
            raise InputError("virtual clock", f"a step from {self._now} to {to}", "a finite time, not in the past")
        self._now = to

    def interrupt(self) -> None:
        """Let the next wait end at once."""
        self._interrupted = True

    async def wait(self, until: float = math.inf) -> bool:
        """Skip to `until` (at once if it is past), unless interrupted before. True if it was interrupted."""
        if not self._interrupted:
            self.advance(max(until, self._now))
            return False
        self._interrupted = False
        return True


class WallClock:
    """Time of the world, by the monotonic clock, from 0 at its making.

    It waits in one event loop; `interrupt` may be called from any thread.
    """

    def __init__(self) -> None:
        self._origin = time.monotonic()
        self._arrived = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._entering = threading.Lock()

    def now(self) -> float:
        """Seconds since the clock was made."""
        return time.monotonic() - self._origin

    def interrupt(self) -> None:
        """End the wait in progress, or the next one."""
        with self._entering:
            if self._loop is None:
                self._arrived.set()
            else:
                self._loop.call_soon_threadsafe(self._arrived.set)

    async def wait(self, until: float = math.inf) -> bool:
        """Sleep until `until` or an interruption; True if it was interrupted. Other tasks get a turn."""
        with self._entering:
            self._loop = asyncio.get_running_loop()
        await asyncio.sleep(0)
        if not self._arrived.is_set():
            try:
                await asyncio.wait_for(self._arrived.wait(), None if until == math.inf else until - self.now())
            except TimeoutError:
                return False
        self._arrived.clear()
        return True
