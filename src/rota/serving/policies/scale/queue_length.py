"""Queue length: start instances when requests wait, stop them when the fleet is nearly empty."""

from __future__ import annotations

from rota.core.errors import InputError
from rota.core.registry import policy
from rota.serving.views import FleetView


@policy("serving.scale", "queue-length")
class QueueLength:
    """One instance more for every `per_instance` waiting requests; one less if none wait and KV use is below `low_usage`.

    Args:
        per_instance: waiting requests that justify one more instance.
        low_usage: share of KV in use below which an instance is drained.
        interval: seconds between decisions.
        least: fewest instances.
    """

    def __init__(self, per_instance: int = 8, low_usage: float = 0.3, interval: float = 10.0, least: int = 1) -> None:
        if per_instance < 1:
            raise InputError("queue-length(per_instance=...)", str(per_instance), "at least 1")
        self.per_instance, self.low_usage, self.least = per_instance, low_usage, least
        self.interval: float | None = interval

    def change(self, fleet: FleetView) -> int:
        """Instances to start (> 0) or drain (< 0)."""
        on = fleet.accepting
        waiting = int((fleet.waiting + fleet.sent)[on].sum())
        if waiting >= self.per_instance:
            return min(waiting // self.per_instance, int((~fleet.active).sum()))
        used = 1.0 - fleet.free[on].sum() / fleet.total[on].sum()
        return -1 if waiting == 0 and used < self.low_usage and on.sum() > self.least else 0
