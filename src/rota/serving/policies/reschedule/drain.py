"""Drain: empty the instances that are being switched off, and nothing else."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rota.core.registry import policy
from rota.serving.freeness import migration_freeness
from rota.serving.model import RequestView
from rota.serving.views import BatchView, FleetView


@policy("serving.reschedule", "drain", paper="llumnix")
class Drain:
    """Move requests off draining instances to the freest others, so that scaling in does not wait for the longest answer."""

    after_prefill = False

    def __init__(self, interval: float = 0.2) -> None:
        self.interval: float | None = interval

    def pairs(self, fleet: FleetView) -> Sequence[tuple[int, int]]:
        """Each draining instance with one of the freest."""
        sources = np.flatnonzero(fleet.active & ~fleet.accepting & (fleet.running > 0) & ~fleet.migrating)
        able = np.flatnonzero(fleet.accepting & ~fleet.migrating)
        freest = able[np.argsort(-migration_freeness(fleet)[able], kind="stable")]
        targets, pairs = freest.tolist(), []
        for source in sources.tolist():
            target = next((t for t in targets if fleet.kinds[t].model == fleet.kinds[source].model), None)
            if target is not None:
                targets.remove(target)
                pairs.append((source, target))
        return pairs

    def victim(self, batch: BatchView) -> int | None:
        """The movable request with the least KV."""
        movable = np.flatnonzero(batch.movable)
        return int(batch.id[movable[np.argmin(batch.blocks[movable])]]) if len(movable) else None

    def target(self, request: RequestView, source: int, fleet: FleetView) -> int | None:
        """Not asked."""
        return None
