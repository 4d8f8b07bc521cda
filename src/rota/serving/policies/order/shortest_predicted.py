"""Shortest predicted job first."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from rota.core.errors import InputError
from rota.core.registry import policy
from rota.serving.lengths import predicted
from rota.serving.model import RequestView
from rota.serving.views import QueueView


@policy("serving.order", "shortest-predicted", paper="castillo")
class ShortestPredicted:
    """Serve first the request whose predicted remaining output is shortest; it needs a length predictor.

    By the mean, this is the shortest-expected-processing-time rule, which minimises the mean flow time of an M/G/1
    queue when requests are not interrupted once they run (Rothkopf 1966). By a high quantile it is wary of long tails.

    Args:
        by: `mean` or `quantile` of what remains after the tokens already generated.
        quantile: which quantile, in (0, 1), if `by` is `quantile`.
    """

    dynamic = False

    def __init__(self, by: Literal["mean", "quantile"] = "mean", quantile: float = 0.9) -> None:
        if by not in ("mean", "quantile"):
            raise InputError("shortest-predicted(by=...)", repr(by), "'mean' or 'quantile'")
        if not 0 < quantile < 1:
            raise InputError("shortest-predicted(quantile=...)", f"{quantile:g}", "a probability in (0, 1)")
        self.by, self.quantile = by, quantile

    def rank(self, queue: QueueView) -> NDArray[np.float64]:
        """(n,) predicted tokens still to come."""
        return np.array([self._tokens(request) for request in queue.requests], dtype=np.float64)

    def _tokens(self, request: RequestView) -> float:
        rest = predicted(request, "shortest-predicted").given_more_than(request.generated)
        return rest.mean() if self.by == "mean" else rest.quantile(self.quantile)
