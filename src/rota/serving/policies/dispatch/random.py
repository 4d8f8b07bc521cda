"""Random: any accepting instance, each as likely as the others."""

from __future__ import annotations

import numpy as np

from rota.core.registry import policy
from rota.core.seeds import stream
from rota.serving.model import RequestView
from rota.serving.views import FleetView


@policy("serving.dispatch", "random")
class Random:
    """Uniformly random among the accepting instances, from the policy's own seeded stream."""

    def __init__(self, seed: int = 0) -> None:
        self.draws = stream(seed, "dispatch", "random")

    def choose(self, request: RequestView, fleet: FleetView) -> int:
        """Any accepting instance."""
        accepting = np.flatnonzero(fleet.accepting)
        return int(accepting[self.draws.integers(len(accepting))])
