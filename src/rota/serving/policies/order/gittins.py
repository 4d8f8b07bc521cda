"""Gittins index: the best chance to finish for the work that it costs."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rota.core.registry import policy
from rota.serving.lengths import predicted
from rota.serving.views import QueueView


@policy("serving.order", "gittins", paper="castillo")
class Gittins:
    """Serve first the request with the largest Gittins index of its remaining output; it needs a length predictor.

    The rank is 1 / G, in tokens: for a certain length it is what remains, so with certain predictions this is
    shortest-remaining first. The index is optimal for the mean flow time of an M/G/1 queue where a running request may
    be interrupted at no cost (Gittins 1989; Aalto, Ayesta and Righter 2009). An engine that admits a request and runs
    it to its end is not that queue: there, `shortest-predicted` by the mean is the optimal rule.
    """

    dynamic = False

    def rank(self, queue: QueueView) -> NDArray[np.float64]:
        """(n,) tokens of work per completion, at best."""
        return np.array([1 / predicted(r, "gittins").gittins(r.generated) for r in queue.requests], dtype=np.float64)
