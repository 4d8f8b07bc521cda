"""Power of two choices: the less busy of two random instances (Mitzenmacher 2001)."""

from __future__ import annotations

import numpy as np

from rota.core.registry import policy
from rota.core.seeds import stream
from rota.serving.model import RequestView
from rota.serving.views import FleetView


@policy("serving.dispatch", "power-of-two")
class PowerOfTwo:
    """Of two accepting instances drawn at random, the one with fewer outstanding requests."""

    def __init__(self, seed: int = 0) -> None:
        self.draws = stream(seed, "dispatch", "power-of-two")

    def choose(self, request: RequestView, fleet: FleetView) -> int:
        """The less busy of two; the first drawn wins a tie."""
        accepting = np.flatnonzero(fleet.accepting)
        pair = self.draws.choice(accepting, size=min(2, len(accepting)), replace=False)
        outstanding = fleet.running[pair] + fleet.waiting[pair] + fleet.sent[pair]
        return int(pair[np.argmin(outstanding)])
