"""Freeness band: keep the average freeness of the fleet between two bounds (Llumnix, OSDI'24, section 4.4.4)."""

from __future__ import annotations

import numpy as np

from rota.core.registry import policy
from rota.serving.freeness import available_blocks
from rota.serving.views import FleetView


@policy("serving.scale", "freeness-band", paper="llumnix")
class FreenessBand:
    """Start instances while the fleet's freeness is below `low`; drain one if without it the freeness would still exceed `high`.

    The fleet's freeness is its free blocks per request, over all instances taken together.

    Args:
        low, high: bounds in decode steps per request; the artifact uses 10 and 60.
        interval: seconds between decisions.
        least, most: bounds on the number of instances (0: as many as the fleet has).
    """

    def __init__(
        self, low: float = 10.0, high: float = 60.0, interval: float = 10.0, least: int = 1, most: int = 0
    ) -> None:
        self.low, self.high, self.least, self.most = low, high, least, most
        self.interval: float | None = interval

    def change(self, fleet: FleetView) -> int:
        """Instances to start (> 0) or drain (< 0)."""
        on = np.flatnonzero(fleet.accepting)
        most = self.most or len(fleet)
        started = 0
        while len(on) + started < most and self._freeness(fleet, on, started) < self.low:
            started += 1
        if started:
            return started
        spare = len(on) > self.least and self._freeness(fleet, on, -1) > self.high
        return -1 if spare else 0

    def _freeness(self, fleet: FleetView, on: np.ndarray, change: int) -> float:
        """Average freeness with `change` more (or fewer) empty instances."""
        requests = int((fleet.running + fleet.waiting + fleet.sent)[on].sum())
        blocks = float(available_blocks(fleet)[on].sum()) + change * float((fleet.total - fleet.watermark)[on].mean())
        return blocks / requests if requests else np.inf
