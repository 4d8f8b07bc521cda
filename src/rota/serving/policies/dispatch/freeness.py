"""Freeness: Llumnix's dispatch by virtual usage, with head-room around requests of high priority."""

from __future__ import annotations

import numpy as np

from rota.core.registry import policy
from rota.serving.freeness import available_blocks, dispatch_freeness, head_room
from rota.serving.model import RequestView, blocks_for
from rota.serving.views import FleetView


@policy("serving.dispatch", "freeness", paper="llumnix")
class Freeness:
    """The freest instance (Llumnix, OSDI'24): free KV blocks per request; urgent requests share few instances, held to a light load.

    A normal request sees instances that host urgent ones as if they had only `target_load` tokens of memory, so it stays away.
    An urgent request goes to the fullest such host that stays within `target_load`, so that they take as few instances as can be
    from the others; if there is none, to the freest instance, which then becomes a host.

    Args:
        target_load: tokens of KV that an instance with an urgent request is held to; 0: priorities make no difference.
    """

    def __init__(self, target_load: int = 1600) -> None:
        self.target_load = target_load

    def choose(self, request: RequestView, fleet: FleetView) -> int:
        """For an urgent request the fullest host with room within `target_load`; else the freest instance, ties to the lower index."""
        room = (fleet.urgent > 0) * head_room(fleet, self.target_load)
        if request.priority == 0:
            return fleet.least(-dispatch_freeness(fleet, room))
        left = available_blocks(fleet) - room - blocks_for(request.prompt)
        fits = fleet.accepting & (room > 0) & (left >= 0)
        if fits.any():
            return int(np.where(fits, left, np.inf).argmin())
        return fleet.least(-dispatch_freeness(fleet))
