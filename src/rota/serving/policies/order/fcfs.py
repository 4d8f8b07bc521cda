"""First come, first served."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rota.core.registry import policy
from rota.serving.views import QueueView


@policy("serving.order", "fcfs")
class Fcfs:
    """In order of arrival; a preempted request keeps its place."""

    dynamic = False

    def rank(self, queue: QueueView) -> NDArray[np.float64]:
        """Arrival times."""
        return np.array([r.arrival for r in queue.requests], dtype=np.float64)
