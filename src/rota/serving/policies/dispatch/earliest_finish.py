"""Earliest finish: ask each instance's cost model when the request would be through."""

from __future__ import annotations

import numpy as np

from rota.core.registry import policy
from rota.serving.lengths import LengthDistribution
from rota.serving.model import Instance, RequestView
from rota.serving.views import FleetView


@policy("serving.dispatch", "earliest-finish")
class EarliestFinish:
    """The instance whose cost model says that the request ends first: prefill of the queue, then decode steps beside its batch.

    The one policy here that sees that GPUs differ. The output length is the predicted mean, or `expected_output` tokens where
    no length predictor is in force.
    """

    def __init__(self, expected_output: int = 256) -> None:
        self.expected_output = expected_output

    def choose(self, request: RequestView, fleet: FleetView) -> int:
        """The accepting instance with the earliest estimated finish; ties to the lower index."""
        cached = fleet.cached(request)
        output = request.predicted.mean() if isinstance(request.predicted, LengthDistribution) else self.expected_output
        finish = [
            self._seconds(kind, fleet, i, request.prompt - int(cached[i]), output) if fleet.accepting[i] else np.inf
            for i, kind in enumerate(fleet.kinds)
        ]
        return int(np.argmin(finish))

    def _seconds(self, kind: Instance, fleet: FleetView, i: int, new: int, output: float) -> float:
        queued = int(fleet.prefill_tokens[i] + fleet.sent_tokens[i])
        batch = int(fleet.running[i] + fleet.waiting[i] + fleet.sent[i]) + 1
        kv = float(fleet.kv_tokens[i]) + queued + new
        prefill = kind.cost.step(0, 0.0, [(queued + new, 0)])
        short = max(0.0, kv / 16 - float(fleet.total[i])) / max(float(fleet.total[i]), 1.0)
        return prefill + output * kind.cost.step(batch, kv) * (1.0 + short)
