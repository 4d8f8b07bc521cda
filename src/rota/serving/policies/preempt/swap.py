"""Swap: a preempted request's KV is copied to CPU memory and back."""

from __future__ import annotations

from rota.core.registry import policy
from rota.serving.victims import last_of_lowest_priority
from rota.serving.views import BatchView


@policy("serving.preempt", "swap")
class Swap:
    """Copy the KV out block by block, and back when there is room; recompute instead where the CPU pool is full.

    A request that shares cached prefix chunks, or is still in its prefill, is recomputed too.
    """

    mechanism = "swap"

    def victim(self, batch: BatchView) -> int:
        """The last admitted request of the lowest priority."""
        return last_of_lowest_priority(batch)
