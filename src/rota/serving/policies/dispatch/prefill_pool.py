"""Prefill pool: new requests go only to the instances that do prefill (with rescheduling `disaggregate`)."""

from __future__ import annotations

import numpy as np

from rota.core.errors import InputError
from rota.core.registry import policy
from rota.serving.model import RequestView
from rota.serving.views import FleetView


@policy("serving.dispatch", "prefill-pool")
class PrefillPool:
    """Of the first `prefill` instances, the one with the fewest prompt tokens to compute; any other if none of them accepts."""

    def __init__(self, prefill: int = 1) -> None:
        if prefill < 1:
            raise InputError("prefill-pool(prefill=...)", str(prefill), "at least 1 instance")
        self.prefill = prefill

    def choose(self, request: RequestView, fleet: FleetView) -> int:
        """An instance of the prefill pool."""
        pool = fleet.accepting & (np.arange(len(fleet)) < self.prefill)
        allowed = pool if pool.any() else fleet.accepting
        queued = (fleet.prefill_tokens + fleet.sent_tokens).astype(np.float64)
        return int(np.argmin(np.where(allowed, queued, np.inf)))
