"""Freeness: Llumnix's dispatch by virtual usage, with head-room around requests of high priority."""

from __future__ import annotations

import numpy as np

from rota.core.registry import policy
from rota.serving.freeness import dispatch_freeness
from rota.serving.model import BLOCK, RequestView
from rota.serving.views import FleetView


@policy("serving.dispatch", "freeness", paper="llumnix")
class Freeness:
    """The freest instance (Llumnix, OSDI'24): free KV blocks per request, less head-room for high priorities.

    A normal request sees instances that host urgent ones as fuller by `head_room` tokens, an urgent request sees those
    that host none so; thus the urgent ones gather, and are left room.
    """

    def __init__(self, head_room: int = 1600) -> None:
        self.head_room = head_room

    def choose(self, request: RequestView, fleet: FleetView) -> int:
        """The accepting instance with the greatest freeness; ties to the lower index."""
        apart = (fleet.urgent == 0) if request.priority > 0 else (fleet.urgent > 0)
        penalty = apart.astype(np.float64) * (self.head_room / BLOCK)
        return int(np.argmax(np.where(fleet.accepting, dispatch_freeness(fleet, penalty), -np.inf)))
