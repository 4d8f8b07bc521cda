"""A dispatch policy of your own: checked against the contract, then compared with the ones that come with Rota.

python examples/own_policy.py [requests]
"""

import sys

import numpy as np

import rota
from rota.serving.model import BLOCK, RequestView
from rota.serving.presets import preset
from rota.serving.views import FleetView
from rota.serving.workloads import by_name
from rota.testing import check_policy


class FullestThatFits:
    """Best fit: the instance with the least free memory that still holds the prompt and some head-room.

    Args:
        head_room: tokens kept free beyond the prompt.
    """

    def __init__(self, head_room: int = 1024) -> None:
        self.head_room = head_room

    def choose(self, request: RequestView, fleet: FleetView) -> int:
        """The tightest fit without a queue; where there is none, the most free memory."""
        free = fleet.free - fleet.waiting_blocks - fleet.sent_blocks
        fits = fleet.accepting & (BLOCK * free >= request.prompt + self.head_room)
        if fits.any():
            return int(np.argmin(np.where(fits, free, np.iinfo(np.int64).max)))
        return int(np.argmax(np.where(fleet.accepting, free, np.iinfo(np.int64).min)))


if __name__ == "__main__":
    check_policy(FullestThatFits, "serving.dispatch")
    requests = int(sys.argv[1]) if len(sys.argv) > 1 else 4000
    fleet = rota.Fleet.of(preset("llama-7b/a10"), 16)
    workload = by_name(f"llumnix(trace='M-M', rate=6.0, cv=4.0, n={requests})", seed=1)
    for dispatch in ("round-robin", "least-requests", FullestThatFits()):
        run = rota.simulate(fleet, workload, {"dispatch": dispatch})
        name = dispatch if isinstance(dispatch, str) else type(dispatch).__name__
        print(f"{name:16} ttft p99 {run.metrics['ttft_p99']:7.3f} s   tpot p95 {1e3 * run.metrics['tpot_p95']:5.1f} ms")
