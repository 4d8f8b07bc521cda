"""The sample scheduler that We-Math 2.0 released: a reconstruction of its behaviour, faults included, to be compared with.

Written from a description of what the released code does, not from the code. It differs from the paper: the order of the nodes
is x0 -> c -> c+v -> c+s -> s+v+c; one success among the rollouts counts as solved; a failed group is marked for easier items
but the mark is never cleared and the failed variant itself is served again, so that increments never come; a group that fails
at x0 is dropped; one that solves the last node is served it for ever; what the scheduled groups leave free of a batch is filled
with random items, whose results overwrite their groups' states; nothing is saved.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from rota.core.seeds import stream
from rota.training.samples.lattice import Node, node
from rota.training.samples.policy import BatchPolicy, Item, Result, State

CHAIN = tuple(map(node, ("", "c", "c+v", "c+s", "s+v+c")))
BACK = {node("v"): node("c+v"), node("s"): node("c+s"), node("s+v"): node("s+v+c")}
"""Where a solved increment leads; only random filling ever serves one."""


class ReleasedWeMath(BatchPolicy):
    """A reconstruction of the released We-Math 2.0 scheduler; see the module's text.

    Args:
        items: with groups and coordinates along s, v and c.
        seed: root seed of the filling.
        misattribute: whether rewards go to the wrong items, as they did once batches were balanced before rewards were known;
            a seeded permutation stands for the order by length.
        correct: rewards above this are successes.
    """

    def __init__(
        self, items: Iterable[Item], seed: int = 0, *, misattribute: bool = False, correct: float = 0.5
    ) -> None:
        super().__init__(items, seed, 0)
        self.misattribute, self.correct = misattribute, correct
        self.where: dict[str, Node | None] = {item.group: CHAIN[0] for item in self.items.values()}
        self.wrong_pool: set[str] = set()
        self._at = {(item.group, item.node): name for name, item in self.items.items()}
        self._names = list(self.items)

    def settle(self, results: Sequence[Result]) -> None:
        """Move the groups of the items, or of other items if rewards are misattributed."""
        rewards = [found for _, found in results]
        if self.misattribute:
            order = stream(self.seed, "balance", self.drawn).permutation(len(rewards))
            rewards = [rewards[k] for k in order]
        for (name, _), found in zip(results, rewards, strict=True):
            self._move(self.items[name], max(found) > self.correct)

    def decide(self, count: int, rng: np.random.Generator) -> list[str]:
        """The groups' present items in their first order, then random ones."""
        due = [self._at[group, at] for group, at in self.where.items() if at is not None and (group, at) in self._at]
        fill = rng.choice(len(self._names), size=max(0, count - len(due)))
        return due[:count] + [self._names[k] for k in fill]

    def memory(self) -> State:
        """Nothing, as released: a resumed run begins again."""
        return {}

    def recall(self, memory: State) -> None:
        """Nothing, as released."""

    def _move(self, item: Item, solved: bool) -> None:
        group, at = item.group, item.node
        if self.where[group] is None:
            return
        if at in BACK and solved:
            self.where[group] = BACK[at]
        elif at in CHAIN and solved:
            self.where[group] = CHAIN[min(CHAIN.index(at) + 1, len(CHAIN) - 1)]
        elif at in CHAIN:
            self.wrong_pool.add(group)
            self.where[group] = at if at else None
