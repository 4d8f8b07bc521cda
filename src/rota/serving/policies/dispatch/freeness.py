"""Freeness: Llumnix's dispatch by virtual usage, with head-room around requests of high priority."""

from __future__ import annotations

from rota.core.registry import policy
from rota.serving.freeness import dispatch_freeness, head_room
from rota.serving.model import RequestView
from rota.serving.views import FleetView


@policy("serving.dispatch", "freeness", paper="llumnix")
class Freeness:
    """The freest instance (Llumnix, OSDI'24): free KV blocks per request, less head-room for high priorities.

    A normal request sees instances that host urgent ones as if they had only `target_load` tokens of memory, so it stays away;
    an urgent request sees all instances as they are, and so finds those the freest.

    Args:
        target_load: tokens of KV that an instance with an urgent request is held to; 0: priorities make no difference.
    """

    def __init__(self, target_load: int = 1600) -> None:
        self.target_load = target_load

    def choose(self, request: RequestView, fleet: FleetView) -> int:
        """The accepting instance with the greatest freeness; ties to the lower index."""
        penalty = (fleet.urgent > 0) * head_room(fleet, self.target_load) if request.priority == 0 else 0.0
        return fleet.least(-dispatch_freeness(fleet, penalty))
