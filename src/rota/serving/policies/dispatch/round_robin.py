"""Round-robin: the accepting instance that was given a request longest ago."""

from __future__ import annotations

from rota.core.registry import policy
from rota.serving.model import RequestView
from rota.serving.views import FleetView


@policy("serving.dispatch", "round-robin")
class RoundRobin:
    """Each accepting instance in turn, whatever its load."""

    def __init__(self) -> None:
        self.last = -1

    def choose(self, request: RequestView, fleet: FleetView) -> int:
        """The next accepting instance after the last one chosen."""
        n = len(fleet)
        self.last = next(i for i in ((self.last + k) % n for k in range(1, n + 1)) if fleet.accepting[i])
        return self.last
