"""No rescheduling: a request stays where it was dispatched."""

from __future__ import annotations

from collections.abc import Sequence

from rota.core.registry import policy
from rota.serving.model import RequestView
from rota.serving.views import BatchView, FleetView


@policy("serving.reschedule", "none")
class NoRescheduling:
    """A request stays where it was dispatched."""

    interval: float | None = None
    after_prefill = False

    def pairs(self, fleet: FleetView) -> Sequence[tuple[int, int]]:
        """None."""
        return ()

    def victim(self, batch: BatchView) -> int | None:
        """None."""
        return None

    def target(self, request: RequestView, source: int, fleet: FleetView) -> int | None:
        """Stay."""
        return None
