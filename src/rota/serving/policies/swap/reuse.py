"""Reuse of CPU copies: FastSwitch whole (arXiv 2411.18424)."""

from __future__ import annotations

from rota.core.registry import policy
from rota.serving.swapping import Mechanism


@policy("serving.swap", "reuse", paper="fastswitch")
class Reuse:
    """Asynchronous block groups whose CPU copies are kept, so that only newer KV is copied out.

    Args:
        group: blocks of a new group; on the CPU it is what keeps room for the next turn beside the old copy.
        threads: threads that issue copy calls.
        streams: 1, copies in and out follow one another on one stream beside the engine's; 2, one stream each way.
        ready_share: wait for swap-ins if fewer than this share of the batch is ready to run.
    """

    def __init__(self, group: int = 60, threads: int = 1, streams: int = 1, ready_share: float = 0.25) -> None:
        self.group, self.threads, self.streams, self.ready_share = group, threads, streams, ready_share
        self.mechanism = Mechanism(
            "groups",
            True,
            asynchronous=True,
            reuse=True,
            group=group,
            threads=threads,
            streams=streams,
            ready_share=ready_share,
        )
