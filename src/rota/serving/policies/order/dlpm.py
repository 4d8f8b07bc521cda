"""Deficit longest prefix match: prefix locality among the tenants who have service to their credit."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rota.core.errors import InputError
from rota.core.registry import policy
from rota.serving.model import Floats
from rota.serving.views import QueueView


@policy("serving.order", "dlpm")
class Dlpm:
    """Longest cached prefix first, among tenants whose deficit is positive (DLPM; the citation, Cao et al., 2025, is from memory).

    Service is drawn from a tenant's deficit; when every tenant in the queue has used his up, each gets `quantum` more, as
    often as it takes. A small quantum is fair, a large one keeps prefixes together.

    Args:
        quantum: service given at a refill, in weighted tokens.
        input_weight, output_weight: cost of a prompt token computed, and of a token generated.
    """

    dynamic = True

    def __init__(self, quantum: float = 8192.0, input_weight: float = 1.0, output_weight: float = 2.0) -> None:
        if not quantum > 0:
            raise InputError("dlpm(quantum=...)", f"{quantum:g}", "a number > 0")
        self.quantum, self.input_weight, self.output_weight = quantum, input_weight, output_weight
        self.granted: dict[int, Floats] = {}

    def rank(self, queue: QueueView) -> NDArray[np.float64]:
        """(n,) places in the order in which successive admissions would take them."""
        spent = self.input_weight * queue.service_in + self.output_weight * queue.service_out
        granted = self.granted.setdefault(queue.instance, np.zeros(len(spent)))
        tenants = {request.tenant for request in queue.requests}
        self._refill(granted, spent, tenants)
        deficit = granted - spent
        left = sorted(range(len(queue.requests)), key=lambda k: (-queue.cached[k], queue.requests[k].arrival, k))
        ranks = np.empty(len(left))
        for turn in range(len(ranks)):
            self._refill(deficit, np.zeros(len(spent)), {queue.requests[k].tenant for k in left})
            place = next(k for k in left if deficit[queue.requests[k].tenant] > 0)
            left.remove(place)
            ranks[place] = turn
            request = queue.requests[place]
            new = request.prompt + request.generated - int(queue.cached[place])
            deficit[request.tenant] -= self.input_weight * new
        return ranks

    def _refill(self, granted: Floats, spent: Floats, tenants: set[int]) -> None:
        """Give each tenant of the queue the quanta it takes until one of them has a deficit above 0."""
        if tenants:
            short = min(spent[t] - granted[t] for t in tenants)
            if short >= 0:
                granted[list(tenants)] += self.quantum * (np.floor(short / self.quantum) + 1)
