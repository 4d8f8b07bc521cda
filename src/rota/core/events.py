"""What happens next: events in order of time, then of priority, then of entry; no tie is left to chance."""

from __future__ import annotations

import heapq
import math
from dataclasses import dataclass
from typing import Generic, TypeVar

from rota.core.errors import InputError

T = TypeVar("T")


@dataclass(slots=True, eq=False)
class Event(Generic[T]):
    """Something that happens at `time`; among equal times the smallest `priority` is first, then the first pushed.

    `done` once it has been popped or cancelled.
    """

    time: float
    priority: int
    sequence: int
    item: T
    done: bool = False


class EventQueue(Generic[T]):
    """A heap of events that have not happened yet."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, int, Event[T]]] = []
        self._pushed = 0
        self._live = 0

    def __len__(self) -> int:
        return self._live

    def push(self, time: float, item: T, priority: int = 0) -> Event[T]:
        """Plan `item` for `time`; the event that comes back can be given to `cancel`.

        Raises:
            InputError: `time` is NaN.
        """
        if math.isnan(time):
            raise InputError("event time", "NaN", "a number")
        event = Event(time, priority, self._pushed, item)
        heapq.heappush(self._heap, (time, priority, self._pushed, event))
        self._pushed += 1
        self._live += 1
        return event

    def peek(self) -> Event[T] | None:
        """The next event, which stays; None if there is none."""
        while self._heap and self._heap[0][3].done:
            heapq.heappop(self._heap)
        return self._heap[0][3] if self._heap else None

    def pop(self) -> Event[T]:
        """Take the next event out. Raises IndexError if there is none."""
        event = self.peek()
        if event is None:
            raise IndexError("pop from an empty event queue")
        heapq.heappop(self._heap)
        self._live -= 1
        event.done = True
        return event

    def cancel(self, event: Event[T]) -> bool:
        """Strike an event off the plan; False if it has happened already, or was struck off before."""
        if event.done:
            return False
        event.done = True
        self._live -= 1
        return True
