"""Balanced: Llumnix's pairing, but only moves that bring two loads closer together."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rota.core.registry import policy
from rota.serving.freeness import head_room, migration_freeness
from rota.serving.model import BLOCK, RequestView
from rota.serving.victims import checked_victim_rule, pair_by_load, pick_victim
from rota.serving.views import BatchView, FleetView


@policy("serving.reschedule", "balanced", paper="llumnix")
class Balanced:
    """As `llumnix`, but a pair is kept only if moving an average request narrows the gap and leaves the target above the threshold.

    Parameters as in `llumnix`.
    """

    after_prefill = False

    def __init__(
        self, threshold: float = 3.0, interval: float = 0.2, target_load: int = 1600, victim: str = "last"
    ) -> None:
        self.threshold, self.target_load = threshold, target_load
        self.interval: float | None = interval
        self.rule = checked_victim_rule(victim)

    def pairs(self, fleet: FleetView) -> Sequence[tuple[int, int]]:
        """Sources and destinations whose loads come closer."""
        freeness = migration_freeness(fleet, head_room(fleet, self.target_load))
        pairs = pair_by_load(fleet, freeness, self.threshold)
        return [(s, t) for s, t in pairs if not fleet.accepting[s] or self._narrows(fleet, freeness, s, t)]

    def _narrows(self, fleet: FleetView, freeness: np.ndarray, source: int, target: int) -> bool:
        running = max(int(fleet.running[source]), 1)
        moved = fleet.kv_tokens[source] / BLOCK / running
        left = (freeness[source] * running + moved) / max(running - 1, 1)
        hosts = int(fleet.running[target])
        room = float(fleet.free[target] - fleet.watermark[target]) if hosts == 0 else freeness[target] * hosts
        taken = (room - moved) / (hosts + 1)
        return bool(taken > self.threshold and 0 < taken - left < freeness[target] - freeness[source])

    def victim(self, batch: BatchView) -> int | None:
        """A normal-priority request, by the rule."""
        return pick_victim(batch, self.rule)

    def target(self, request: RequestView, source: int, fleet: FleetView) -> int | None:
        """Not asked."""
        return None
