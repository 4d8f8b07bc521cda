"""Llumnix: move requests away from instances that run short of KV memory (OSDI'24, section 4.4.3)."""

from __future__ import annotations

from collections.abc import Sequence

from rota.core.registry import policy
from rota.serving.freeness import head_room, migration_freeness
from rota.serving.model import RequestView
from rota.serving.victims import checked_victim_rule, pair_by_load, pick_victim
from rota.serving.views import BatchView, FleetView


@policy("serving.reschedule", "llumnix", paper="llumnix")
class Llumnix:
    """Every `interval`, pair the instances short of memory with the freest ones, worst with best, and move one request each.

    Args:
        threshold: freeness (decode steps per request) below which an instance sheds and above which it takes; the artifact
            uses 3, and 10 for its M-M and S-L traces.
        interval: seconds between plans.
        target_load: tokens of KV that an instance with an urgent request is held to; 0: priorities make no difference.
        victim: which request moves: `last` admitted, `longest` or `shortest`.
        defragment: count the queue's demand as used (virtual usage).
    """

    after_prefill = False

    def __init__(
        self,
        threshold: float = 3.0,
        interval: float = 0.2,
        target_load: int = 1600,
        victim: str = "last",
        defragment: bool = True,
    ) -> None:
        self.threshold, self.target_load, self.defragment = threshold, target_load, defragment
        self.interval: float | None = interval
        self.rule = checked_victim_rule(victim)

    def pairs(self, fleet: FleetView) -> Sequence[tuple[int, int]]:
        """Sources and destinations, one migration each."""
        freeness = migration_freeness(fleet, head_room(fleet, self.target_load), self.defragment)
        return pair_by_load(fleet, freeness, self.threshold)

    def victim(self, batch: BatchView) -> int | None:
        """A normal-priority request, by the rule."""
        return pick_victim(batch, self.rule)

    def target(self, request: RequestView, source: int, fleet: FleetView) -> int | None:
        """Not asked."""
        return None
