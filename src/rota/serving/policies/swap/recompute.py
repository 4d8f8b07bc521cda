"""No swapping: a request that loses its place is computed again (the only way that vLLM V1 has)."""

from __future__ import annotations

from rota.core.registry import policy
from rota.serving.swapping import Mechanism


@policy("serving.swap", "recompute")
class Recompute:
    """Drop the KV and prefill prompt and answer again; between turns nothing is kept."""

    def __init__(self) -> None:
        self.mechanism = Mechanism(swaps=False)
