"""A part of a workload: a time window, the first requests, another rate."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from rota.core.errors import InputError
from rota.serving.model import Workload


def select(
    workload: Workload,
    *,
    start: float | None = None,
    end: float | None = None,
    n: int | None = None,
    rate: float | None = None,
) -> Workload:
    """The requests arriving in [`start`, `end`) seconds, at most `n` of them, at `rate` requests a second; time begins
    at `start`.

    A later turn of a conversation goes with its first. Scaling the rate stretches the arrivals, not the think times.

    Raises:
        InputError: nothing is left, or a number out of range.
    """
    chosen = workload
    if start is not None or end is not None:
        low, high = start or 0.0, np.inf if end is None else end
        inside = (chosen.arrival >= low) & (chosen.arrival < high)
        for row, waits in chosen.predecessors().items():
            inside[row] = inside[waits].all()
        chosen = chosen.take(inside)
        chosen = replace(chosen, arrival=np.maximum(chosen.arrival - low, 0.0))
    if n is not None:
        if n < 1:
            raise InputError("n", str(n), "at least 1")
        chosen = chosen.take(np.arange(min(n, len(chosen))))
    if not len(chosen):
        raise InputError(
            workload.name, f"no request from {start or 0:g} s to {end or workload.duration:g} s", "at least one"
        )
    return chosen if rate is None else chosen.at_rate(rate)
