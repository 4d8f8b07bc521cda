"""Sampling by learnability: what is sometimes solved teaches most.

With binary rewards, the variance of the reward is p (1 - p): it is what group-relative advantages are made of, and it is zero
for items that are always or never solved. Rutherford et al., "No Regrets: Investigating and Improving Regret Approximations for
Curriculum Discovery" (NeurIPS 2024), call it learnability.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from rota.core.errors import InputError
from rota.training.samples.policy import BatchPolicy, Item, Result, State


class LearnabilitySampler(BatchPolicy):
    """Draws items with weight p (1 - p), where p is the estimated probability of success; no item twice while there are others.

    Args:
        items: what there is to draw.
        seed: root seed of the draws.
        prior: pseudo-counts (successes, failures) of an item that nothing is known of; both positive.
        forget: share of the earlier evidence that each new observation of an item leaves; 1 keeps all.
        explore: share of the probability that is spread evenly over all items.
        correct: rewards above this are successes.
        staleness: see `SamplePolicy.staleness`.

    Raises:
        InputError: a prior that is not positive, or a share outside [0, 1].
    """

    def __init__(
        self,
        items: Iterable[Item],
        seed: int = 0,
        *,
        prior: tuple[float, float] = (1.0, 1.0),
        forget: float = 0.9,
        explore: float = 0.1,
        correct: float = 0.5,
        staleness: int = 1,
    ) -> None:
        super().__init__(items, seed, staleness)
        if min(prior) <= 0:
            raise InputError("prior", str(prior), "two positive pseudo-counts")
        for name, share in (("forget", forget), ("explore", explore)):
            if not 0 <= share <= 1:
                raise InputError(name, f"{share:g}", "a share from 0 to 1")
        self.prior, self.forget, self.explore, self.correct = prior, forget, explore, correct
        self.names = sorted(self.items)
        self.counts = dict.fromkeys(self.names, (0.0, 0.0))

    def success(self, item: str) -> float:
        """The estimated probability that a rollout of the item succeeds."""
        (won, lost), (a, b) = self.counts[item], self.prior
        return (won + a) / (won + lost + a + b)

    def probabilities(self) -> np.ndarray:
        """(items,) the probability of each item, in the order of their sorted names, to be drawn first."""
        p = np.array([self.success(name) for name in self.names])
        weight = p * (1 - p)
        return self.explore / len(p) + (1 - self.explore) * weight / weight.sum()

    def settle(self, results: Sequence[Result]) -> None:
        """Fade what was known of an item and add what was seen."""
        for item, rewards in results:
            won = sum(reward > self.correct for reward in rewards)
            before = [self.forget * count for count in self.counts[item]]
            self.counts[item] = (before[0] + won, before[1] + len(rewards) - won)

    def decide(self, count: int, rng: np.random.Generator) -> list[str]:
        """Whole rounds over all items while the count allows, and weighted draws without replacement for the rest."""
        rounds, rest = divmod(count, len(self.names))
        drawn = rng.choice(len(self.names), size=rest, replace=False, p=self.probabilities())
        return self.names * rounds + [self.names[k] for k in drawn]

    def memory(self) -> State:
        """Successes and failures of the items that were seen."""
        return {"counts": {name: list(pair) for name, pair in self.counts.items() if any(pair)}}

    def recall(self, memory: State) -> None:
        """Take what `memory` gave."""
        seen = {name: (float(won), float(lost)) for name, (won, lost) in memory["counts"].items()}
        self.counts = dict.fromkeys(self.names, (0.0, 0.0)) | seen
