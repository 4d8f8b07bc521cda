"""How far a batch can decode before anything changes: closed forms instead of stepping."""

from __future__ import annotations

import math

import numpy as np

from rota.serving.model import BLOCK, Ints


def steps_until(wait: float, first: float, slope: float, most: int) -> int:
    """Fewest steps, from 1 to `most`, that take at least `wait` seconds; step j (from 0) takes `first + slope * j`."""
    if wait <= first:
        return 1
    if most * first + slope * (most * (most - 1) / 2) < wait:
        return most
    linear = first - slope / 2
    steps = (
        math.ceil((math.sqrt(linear * linear + 2 * slope * wait) - linear) / slope)
        if slope
        else math.ceil(wait / first)
    )
    while steps > 1 and (steps - 1) * first + slope * ((steps - 1) * (steps - 2) / 2) >= wait:
        steps -= 1
    while steps * first + slope * (steps * (steps - 1) / 2) < wait:
        steps += 1
    return min(steps, most)


def steps_in_memory(context: Ints, held: Ints, free: int, most: int) -> int:
    """The most steps, up to `most`, for which there are blocks; one step is known to fit.

    Args:
        context: (n,) tokens of KV of each sequence; a step adds one to each.
        held: (n,) blocks of each.
        free: blocks that no one holds.
        most: upper limit.
    """

    def fits(steps: int) -> bool:
        return int(np.maximum(-(-(context + steps) // BLOCK) - held, 0).sum()) <= free

    if fits(most):
        return most
    low, high = 1, most
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low


def blocks_due(context: Ints, held: Ints, steps: int) -> list[int]:
    """Places in the batch that need another block during `steps` steps, in order: by step, then by place."""
    extra = -(-(context + steps) // BLOCK) - held
    due = [
        (BLOCK * (int(held[i]) + more) + 1 - int(context[i]), i)
        for i in np.flatnonzero(extra > 0).tolist()
        for more in range(int(extra[i]))
    ]
    return [i for _, i in sorted(due)]
