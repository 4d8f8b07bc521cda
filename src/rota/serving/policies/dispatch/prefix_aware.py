"""Prefix-aware: weigh the prompt tokens that need no computing against the balance of load."""

from __future__ import annotations

from rota.core.registry import policy
from rota.serving.model import RequestView
from rota.serving.views import FleetView


@policy("serving.dispatch", "prefix-aware")
class PrefixAware:
    """Least work: tokens of prompt left to compute after the cache hit, plus those queued, plus the cost of a fuller batch.

    cost = (prompt - cached) + prefill tokens queued + `decode_weight` x KV tokens of the running batch. The overlap and load
    terms are those of Dynamo's KV router, in tokens; there is no temperature: the least cost is chosen, ties to the lower index.
    """

    def __init__(self, decode_weight: float = 0.1) -> None:
        self.decode_weight = decode_weight

    def choose(self, request: RequestView, fleet: FleetView) -> int:
        """The accepting instance with the least work."""
        queued = fleet.prefill_tokens + fleet.sent_tokens
        cost = queued - fleet.cached(request) + self.decode_weight * fleet.kv_tokens
        return fleet.least(cost)
