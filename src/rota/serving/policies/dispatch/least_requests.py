"""Least requests (join the shortest queue): the instance with the fewest outstanding requests."""

from __future__ import annotations

from rota.core.registry import policy
from rota.serving.model import RequestView
from rota.serving.views import FleetView


@policy("serving.dispatch", "least-requests")
class LeastRequests:
    """Fewest requests running, waiting or on their way; ties to the lower index."""

    def choose(self, request: RequestView, fleet: FleetView) -> int:
        """The accepting instance with the fewest outstanding requests."""
        return fleet.least(fleet.running + fleet.waiting + fleet.sent)
