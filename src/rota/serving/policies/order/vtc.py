"""Virtual token counter: tenants take turns by the service they have had."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rota.core.errors import InputError
from rota.core.registry import policy
from rota.serving.model import Floats
from rota.serving.views import QueueView


@policy("serving.order", "vtc")
class Vtc:
    """The tenant who has received the least service goes first (VTC; Sheng et al., OSDI'24).

    A tenant's counter is `input_weight` for each prompt token admitted and `output_weight` for each token generated, on
    each instance by itself. A tenant that begins to queue there again is lifted to the least counter among those that queue
    (or, where nobody did, queued last), so that nobody saves up credit by staying away. While two tenants are both backlogged their service differs by at most
    2 max(w_p L_in, w_q M), with L_in the longest prompt and M the KV capacity in tokens, as long as nothing is preempted.

    Args:
        input_weight, output_weight: w_p and w_q, cost of a token; the paper prices them 1 and 2.
    """

    dynamic = True

    def __init__(self, input_weight: float = 1.0, output_weight: float = 2.0) -> None:
        if input_weight < 0 or output_weight < 0:
            raise InputError("vtc: weights", f"{input_weight:g} and {output_weight:g}", "numbers >= 0")
        self.input_weight, self.output_weight = input_weight, output_weight
        self.lifts: dict[int, Floats] = {}
        self.queued: dict[int, frozenset[int]] = {}

    def rank(self, queue: QueueView) -> NDArray[np.float64]:
        """(n,) places in the order in which successive admissions would take them."""
        counters = self._counters(queue)
        waiting: dict[int, list[int]] = {}
        for place in sorted(range(len(queue.requests)), key=lambda k: (queue.requests[k].arrival, k), reverse=True):
            waiting.setdefault(queue.requests[place].tenant, []).append(place)
        ranks = np.empty(len(queue.requests))
        for turn in range(len(ranks)):
            tenant = min(waiting, key=lambda t: (counters[t], queue.requests[waiting[t][-1]].arrival))
            place = waiting[tenant].pop()
            ranks[place] = turn
            request = queue.requests[place]
            counters[tenant] += self.input_weight * (request.prompt + request.generated - int(queue.cached[place]))
            if not waiting[tenant]:
                del waiting[tenant]
        return ranks

    def _counters(self, queue: QueueView) -> Floats:
        """(tenants,) service and lift of each tenant, after lifting those that begin to queue."""
        spent = self.input_weight * queue.service_in + self.output_weight * queue.service_out
        lift = self.lifts.setdefault(queue.instance, np.zeros(len(spent)))
        before = self.queued.get(queue.instance, frozenset())
        now = frozenset(request.tenant for request in queue.requests)
        active = now & before or before
        for tenant in now - before if active else ():
            floor = min(spent[t] + lift[t] for t in active)
            lift[tenant] += max(0.0, floor - spent[tenant] - lift[tenant])
        self.queued[queue.instance] = now
        return spent + lift
