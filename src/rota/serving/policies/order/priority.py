"""Priority: urgent requests go ahead in the queue (Llumnix's scheduling priority)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rota.core.registry import policy
from rota.serving.views import QueueView


@policy("serving.order", "priority", paper="llumnix")
class Priority:
    """Higher priority first, then in order of arrival. Room for them is kept by dispatch and rescheduling (head-room)."""

    dynamic = False
    span = 1e9
    """Seconds; larger than any arrival time."""

    def rank(self, queue: QueueView) -> NDArray[np.float64]:
        """Arrival times, each level of priority moved ahead of the one below."""
        return np.array([r.arrival - r.priority * self.span for r in queue.requests], dtype=np.float64)
