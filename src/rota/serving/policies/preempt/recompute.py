"""Recompute: a preempted request's KV is dropped and computed again."""

from __future__ import annotations

from rota.core.registry import policy
from rota.serving.victims import last_of_lowest_priority
from rota.serving.views import BatchView


@policy("serving.preempt", "recompute")
class Recompute:
    """Drop the KV; prompt and answer so far are prefilled again when there is room."""

    mechanism = "recompute"

    def victim(self, batch: BatchView) -> int:
        """The last admitted request of the lowest priority."""
        return last_of_lowest_priority(batch)
