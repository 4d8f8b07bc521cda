"""Least load: INFaaS++, the load-aware dispatch that Llumnix is compared with (OSDI'24, section 6.1)."""

from __future__ import annotations

from rota.core.registry import policy
from rota.serving.freeness import dispatch_freeness
from rota.serving.model import RequestView
from rota.serving.views import FleetView


@policy("serving.dispatch", "least-load", paper="llumnix")
class LeastLoad:
    """INFaaS++: most free KV memory for each request it would have to share it with; blind to priorities.

    Load is -((free - watermark) - blocks that the queue needs) / (running + waiting), as in the artifact of Llumnix.
    """

    def choose(self, request: RequestView, fleet: FleetView) -> int:
        """The accepting instance with the least load; ties to the lower index."""
        return fleet.least(-dispatch_freeness(fleet))
