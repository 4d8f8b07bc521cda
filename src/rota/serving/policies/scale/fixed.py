"""Fixed: the fleet stays as it was started."""

from __future__ import annotations

from rota.core.registry import policy
from rota.serving.views import FleetView


@policy("serving.scale", "fixed")
class Fixed:
    """No scaling."""

    interval: float | None = None

    def change(self, fleet: FleetView) -> int:
        """Nothing to start or stop."""
        return 0
