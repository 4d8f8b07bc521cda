"""Uniform sampling: pass after pass over all items, each in its own random order."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Sequence

import numpy as np

from rota.core.seeds import stream
from rota.training.samples.policy import BatchPolicy, Item, Result, State


class UniformSampler(BatchPolicy):
    """Every item once a pass, in random order; rewards change nothing, so that any staleness will do.

    Args:
        items: what there is to draw.
        seed: root seed of the orders.
    """

    def __init__(self, items: Iterable[Item], seed: int = 0) -> None:
        super().__init__(items, seed, None)
        self.position = 0

    def go_to(self, batches: int, count: int) -> None:
        """To where the policy stood after so many batches of `count` items: draws depend on nothing else."""
        self.drawn, self.position = batches, batches * count

    def settle(self, results: Sequence[Result]) -> None:
        """Nothing to learn."""

    def decide(self, count: int, rng: np.random.Generator) -> list[str]:
        """The next stretch of the passes."""
        batch = passes(sorted(self.items), self.position, count, self.seed)
        self.position += count
        return batch

    def memory(self) -> State:
        """How many items were drawn."""
        return {"position": self.position}

    def recall(self, memory: State) -> None:
        """Take what `memory` gave."""
        self.position = operator.index(memory["position"])


def passes(names: Sequence[str], position: int, count: int, seed: int, *stage: str) -> list[str]:
    """Items `position` to `position + count` of an endless sequence of passes over `names`, each in its own random order."""
    first, last = position // len(names), (position + count - 1) // len(names)
    orders = [stream(seed, "pass", *stage, number).permutation(len(names)) for number in range(first, last + 1)]
    start = position - first * len(names)
    return [names[k] for k in np.concatenate(orders)[start : start + count]]
