"""Asynchronous swapping: FastSwitch's multithreading swap manager (arXiv 2411.18424), on block groups."""

from __future__ import annotations

from rota.core.registry import policy
from rota.serving.swapping import Mechanism


@policy("serving.swap", "asynchronous", paper="fastswitch")
class Asynchronous:
    """Block groups, copied while the engine runs; only conflicts are waited for.

    When to wait for a swap-in after all is a reconstruction: the paper decides from a profile of recent iterations.

    Args:
        group: blocks of a new group.
        threads: threads that issue copy calls.
        streams: 1, copies in and out follow one another on one stream beside the engine's; 2, one stream each way.
        ready_share: wait for swap-ins if fewer than this share of the batch is ready to run.
    """

    def __init__(self, group: int = 60, threads: int = 1, streams: int = 1, ready_share: float = 0.25) -> None:
        self.group, self.threads, self.streams, self.ready_share = group, threads, streams, ready_share
        self.mechanism = Mechanism(
            "groups", True, asynchronous=True, group=group, threads=threads, streams=streams, ready_share=ready_share
        )
