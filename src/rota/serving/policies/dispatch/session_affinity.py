"""Session affinity: turns of a conversation return to the instance that served the last one."""

from __future__ import annotations

import numpy as np

from rota.core.registry import policy
from rota.serving.model import RequestView
from rota.serving.views import FleetView


@policy("serving.dispatch", "session-affinity")
class SessionAffinity:
    """The instance that served the session before, unless it is too busy; new sessions go where the fewest requests are.

    Args:
        slack: outstanding requests that the session's instance may have beyond the least busy one and still be chosen.
    """

    def __init__(self, slack: int = 16) -> None:
        self.slack = slack
        self.homes: dict[int, int] = {}

    def choose(self, request: RequestView, fleet: FleetView) -> int:
        """The session's instance, or the least busy one."""
        outstanding = np.where(fleet.accepting, fleet.running + fleet.waiting + fleet.sent, np.iinfo(np.int64).max)
        least = int(np.argmin(outstanding))
        home = self.homes.get(request.session, least)
        if not fleet.accepting[home] or outstanding[home] > outstanding[least] + self.slack:
            home = least
        if request.session >= 0:
            self.homes[request.session] = home
        return home
