"""Prefill/decode disaggregation as rescheduling: requests move to the decode pool after their first token."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rota.core.errors import InputError
from rota.core.registry import policy
from rota.serving.freeness import migration_freeness
from rota.serving.model import RequestView
from rota.serving.views import BatchView, FleetView


@policy("serving.reschedule", "disaggregate")
class Disaggregate:
    """Move each request after its first token from the first `prefill` instances to the freest of the others.

    Use it with the dispatch policy `prefill-pool`, which sends new requests to the same first instances.
    """

    interval: float | None = None
    after_prefill = True

    def __init__(self, prefill: int = 1) -> None:
        if prefill < 1:
            raise InputError("disaggregate(prefill=...)", str(prefill), "at least 1 instance")
        self.prefill = prefill

    def pairs(self, fleet: FleetView) -> Sequence[tuple[int, int]]:
        """None: requests move as soon as they can."""
        return ()

    def victim(self, batch: BatchView) -> int | None:
        """Not asked."""
        return None

    def target(self, request: RequestView, source: int, fleet: FleetView) -> int | None:
        """The freest instance of the decode pool, one that takes part in no other migration if there is one."""
        able = fleet.accepting & (np.arange(len(fleet)) >= self.prefill)
        if source >= self.prefill or not able.any():
            return None
        idle = able & ~fleet.migrating
        return int(np.where(idle if idle.any() else able, migration_freeness(fleet), -np.inf).argmax())
