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
        ready_share: wait for swap-ins if fewer than this share of the batch is ready to run.
    """

    def __init__(self, group: int = 60, threads: int = 1, ready_share: float = 0.25) -> None:
        self.group, self.threads, self.ready_share = group, threads, ready_share
        self.mechanism = Mechanism(
            "groups", coalesce=True, asynchronous=True, group=group, threads=threads, ready_share=ready_share
        )
