"""Sparse window: attend to the last tokens and the best of the rest; old KV goes to the host, the oldest is dropped."""

from __future__ import annotations

import numpy as np

from rota.core.errors import InputError, UnknownName
from rota.core.registry import policy
from rota.serving.residency.model import OfflineBatch, Placement
from rota.serving.residency.three_phase import ThreePhase

SEARCHES = ("greedy", "exhaustive")


@policy("serving.residency", "sparse-window", paper="alisa")
class SparseWindow:
    """ALISA: sparse window attention over KV that is on the GPU, on the host, or recomputed, in three phases.

    Each step attends to a locally static window, the last k tokens, and to k globally dynamic ones, those of the rest
    with the largest sums of attention scores over the last k steps; k = round(context * ratio / 2).

    Args:
        ratio: caching ratio r; 1 - r is the KV sparsity. At 1 attention is dense.
        search: how p1, p2, alpha and beta are chosen: `greedy`, as in the paper, or `exhaustive`, the optimum.
        kv_bits: 8 (INT8, the paper's compression) or 16 (FP16).
        recompute: allow Phase III.
        skew: the oldest share x of the tokens gets the share x ** skew of the globally dynamic picks (a stated
            parameter, as no simulation knows the scores; 1 is uniform, above 1 favours recent tokens).
        alphas, betas: how many values of alpha and beta are tried, evenly from 0 to 1.
    """

    def __init__(
        self, ratio: float = 0.2, search: str = "greedy", kv_bits: int = 8, recompute: bool = True, skew: float = 1.0,
        alphas: int = 101, betas: int = 21,
    ) -> None:  # fmt: skip
        if not 0 < ratio <= 1:
            raise InputError("sparse-window(ratio=...)", f"{ratio}", "a ratio above 0, up to 1")
        if search not in SEARCHES:
            raise UnknownName("sparse-window(search=...)", search, SEARCHES)
        if skew <= 0 or min(alphas, betas) < 2:
            raise InputError(
                "sparse-window", f"skew={skew}, alphas={alphas}, betas={betas}", "skew above 0, two values or more"
            )
        self.ratio, self.search, self.kv_bits, self.recompute = ratio, search, kv_bits, recompute
        self.skew, self.alphas, self.betas = skew, alphas, betas

    def plan(self, problem: OfflineBatch) -> Placement:
        """The placement that the search chose, with alpha, beta, p1 and p2 in `chosen`.

        Raises:
            Infeasible: the search finds none within memory.
        """
        betas = np.linspace(0, 1, self.betas) if self.recompute else np.zeros(1)
        space = ThreePhase(problem, self.ratio, self.kv_bits, self.skew, np.linspace(0, 1, self.alphas), betas)
        return space.placement(space.greedy() if self.search == "greedy" else space.exhaustive())
