"""Static split: a fixed share of every sequence's KV lives on the host, and comes back for each step."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import numpy as np

from rota.core.errors import Infeasible, InputError
from rota.core.registry import policy
from rota.serving.residency import cost
from rota.serving.residency.by_age import by_age
from rota.serving.residency.model import Floats, OfflineBatch, Placement

SHARES = np.linspace(0.0, 1.0, 101)


@policy("serving.residency", "static-split")
class StaticSplit:
    """FlexGen's placement: a fixed share of the KV on the host from the first token on, all attended in every step.

    After Sheng et al., "FlexGen" (ICML 2023), its KV placement alone: weights stay on the GPU, and so does attention
    (FlexGen can also attend on the CPU, and offload weights).

    Args:
        share: of the KV on the host, 0 to 1; -1 takes the fastest of 0, 0.01, ... 1 that fits, which is what FlexGen's
            linear programme is for.
        waves: into how many parts the batch is split, generated one after another; -1 takes the fastest number.
        kv_bits: 16 (FP16) or 8 (INT8).
    """

    def __init__(self, share: float = -1.0, waves: int = 1, kv_bits: int = 16) -> None:
        if not (share == -1 or 0 <= share <= 1):
            raise InputError("static-split(share=...)", f"{share}", "a share from 0 to 1, or -1 for the best")
        if not (waves == -1 or waves >= 1):
            raise InputError("static-split(waves=...)", f"{waves}", "a number of waves, or -1 for the best")
        self.share, self.waves, self.kv_bits = share, waves, kv_bits

    def plan(self, problem: OfflineBatch) -> Placement:
        """The split, or the best one.

        Raises:
            Infeasible: too much for GPU or host memory.
        """
        counts = (
            {-(-problem.batch // size) for size in range(1, problem.batch + 1)} if self.waves == -1 else {self.waves}
        )
        best = lru_cache(maxsize=None)(lambda size: self._best(replace(problem, batch=size)))
        seconds = {count: sum(best(size)[0] for size in _sizes(problem.batch, count)) for count in sorted(counts)}
        count = min(seconds, key=lambda waves: seconds[waves])
        if np.isinf(seconds[count]):
            raise Infeasible(
                f"no static split of the KV of batch {problem.batch} fits {problem.device.name} and its host"
            )
        parts = [best(size)[1] for size in _sizes(problem.batch, count)]
        return Placement.one_after_another(parts, {"share": parts[0].chosen["share"], "waves": float(count)})

    def _best(self, problem: OfflineBatch) -> tuple[float, Placement]:
        shares = SHARES if self.share == -1 else np.array([self.share])
        seconds = cost.total_seconds(problem, self._split(problem, shares[:, None]))
        best = int(seconds.argmin())
        chosen = {"share": float(shares[best])}
        return float(seconds[best]), replace(self._split(problem, shares[best]), chosen=chosen)

    def _split(self, problem: OfflineBatch, share: Floats) -> Placement:
        offloaded = np.floor(share * problem.context + 0.5).astype(np.int64)
        none = np.zeros(problem.output, dtype=np.int64)
        return by_age(problem, offloaded, none, window=none, kv_bits=self.kv_bits)


def _sizes(batch: int, waves: int) -> list[int]:
    """Sequences of each wave, as even as can be."""
    small, more = divmod(batch, min(waves, batch))
    return [small + 1] * more + [small] * (min(waves, batch) - more)
