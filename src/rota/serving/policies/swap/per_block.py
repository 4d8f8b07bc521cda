"""Per-block swapping, the way of vLLM 0.3.3: the engine stands still for one copy call a block, layer and K or V."""

from __future__ import annotations

from rota.core.registry import policy
from rota.serving.swapping import Mechanism


@policy("serving.swap", "per-block", paper="fastswitch")
class PerBlock:
    """One copy call a block, and the engine waits (vLLM 0.3.3).

    Args:
        coalesce: keep the free lists sorted and send neighbouring blocks in one call: the strongest simple baseline.
    """

    def __init__(self, coalesce: bool = False) -> None:
        self.coalesce = coalesce
        self.mechanism = Mechanism("sorted" if coalesce else "paged", coalesce=coalesce)
