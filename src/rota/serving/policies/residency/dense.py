"""Dense: every token stays on the GPU."""

from __future__ import annotations

import numpy as np

from rota.core.errors import Infeasible
from rota.core.registry import policy
from rota.serving.residency import cost
from rota.serving.residency.by_age import by_age
from rota.serving.residency.model import OfflineBatch, Placement


@policy("serving.residency", "dense")
class Dense:
    """All KV on the GPU, all of it attended; has no answer when it does not fit.

    Args:
        kv_bits: 16 (FP16) or 8 (INT8).
    """

    def __init__(self, kv_bits: int = 16) -> None:
        self.kv_bits = kv_bits

    def plan(self, problem: OfflineBatch) -> Placement:
        """The only placement there is.

        Raises:
            Infeasible: the KV of the whole batch does not fit.
        """
        none = np.zeros(problem.output, dtype=np.int64)
        placement = by_age(problem, none, none, window=none, kv_bits=self.kv_bits)
        peak = cost.peak_bytes(problem, placement, cost.resident_before(placement)).max()
        if peak > problem.device.memory:
            needs, room = peak / 1e9, problem.device.memory / 1e9
            raise Infeasible(f"dense residency needs {needs:.1f} GB on {problem.device.name}, which has {room:.1f} GB")
        return placement
