"""A simulated learner, so that sample policies can be compared without a model: no language model is involved.

A rollout of an item succeeds with probability sigmoid(skill - difficulty). The skill is the sum of a general ability, the
knowledge of the item's group and the skill along each axis on which the item is harder. Practice raises all three, in
proportion to how mixed the rollouts came out (4 p (1 - p)), as group-relative advantages vanish when all are equal.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rota.core.errors import InputError
from rota.core.seeds import stream
from rota.training.samples.policy import Item, SamplePolicy

Floats = NDArray[np.float64]
HARDER = {"s": 2.0, "v": 1.2, "c": 1.2, "k": -0.5}
"""Logits that one unit along an axis makes an item harder; knowledge increments are easier."""


@dataclass(frozen=True)
class Practice:
    """What a rollout batch with mixed results teaches, in logits.

    Attributes:
        knowledge: of the item's group.
        axis: of each axis on which the item is harder, shared by all groups.
        ability: shared by all items.
        forget: share of every group's knowledge that is lost with each batch.
    """

    knowledge: float = 0.35
    axis: float = 0.01
    ability: float = 0.002
    forget: float = 0.0


class SimulatedLearner:
    """Success by skill against difficulty, with practice.

    Args:
        items: that there are; their groups differ in difficulty.
        seed: root seed of the groups' difficulties and of the rollouts.
        harder: logits for one unit along each axis; an axis that is not named costs 1.
        spread: standard deviation of the groups' difficulties, in logits.
        practice: what is learned from an item.
    """

    def __init__(
        self,
        items: Iterable[Item],
        seed: int = 0,
        *,
        harder: Mapping[str, float] | None = None,
        spread: float = 1.5,
        practice: Practice | None = None,
    ) -> None:
        self.items = {item.id: item for item in items}
        self.seed, self.practice = seed, practice or Practice()
        costs = HARDER if harder is None else harder
        groups = sorted({item.group for item in self.items.values()})
        offset = dict(zip(groups, stream(seed, "learner", "groups").normal(0, spread, len(groups)), strict=True))
        self.difficulty = {name: float(offset[i.group] + _cost(i, costs)) for name, i in self.items.items()}
        self.ability = 0.0
        self.knowledge = dict.fromkeys(groups, 0.0)
        self.skill: dict[str, float] = dict.fromkeys(
            sorted({axis for i in self.items.values() for axis in i.node}), 0.0
        )
        self.batches = 0

    def probability(self, name: str) -> float:
        """The probability that a rollout of an item succeeds."""
        item = self.items[name]
        skill = self.ability + self.knowledge[item.group] + sum(self.skill[axis] for axis in sorted(item.node))
        return 1 / (1 + math.exp(self.difficulty[name] - skill))

    def accuracy(self) -> float:
        """The mean probability of success over all items."""
        return float(np.mean([self.probability(name) for name in self.items]))

    def attempt(self, batch: Sequence[str], rollouts: int) -> NDArray[np.float64]:
        """(batch, rollouts) rewards, 1 or 0; what the learner learns from them sets in at once."""
        chances = np.array([self.probability(name) for name in batch])
        draws = stream(self.seed, "learner", "rollouts", self.batches).random((len(batch), rollouts))
        rewards = (draws < chances[:, None]).astype(float)
        self.batches += 1
        self._learn(batch, rewards.mean(axis=1))
        return rewards

    def _learn(self, batch: Sequence[str], rates: Floats) -> None:
        for group in self.knowledge:
            self.knowledge[group] *= 1 - self.practice.forget
        for name, mixed in zip(batch, (4 * rates * (1 - rates)).tolist(), strict=True):
            item = self.items[name]
            self.ability += self.practice.ability * mixed
            self.knowledge[item.group] += self.practice.knowledge * mixed
            for axis in item.node:
                self.skill[axis] += self.practice.axis * mixed


@dataclass(frozen=True)
class Course:
    """What came of a policy and a learner.

    Attributes:
        accuracy: (batches + 1,) the learner's mean probability of success, before and after each batch.
        mixed: (batches,) share of a batch's items whose rollouts were neither all right nor all wrong.
        drawn: how often each item was drawn.
    """

    accuracy: Floats
    mixed: Floats
    drawn: Mapping[str, int]


def practise(
    policy: SamplePolicy, learner: SimulatedLearner, batches: int, size: int, rollouts: int = 8, lag: int = 0
) -> Course:
    """Train a simulated learner on what a policy draws; rewards are reported `lag` batches late.

    Raises:
        InputError: a lag beyond the policy's staleness.
    """
    if policy.staleness is not None and lag > policy.staleness:
        raise InputError("lag", str(lag), f"at most {policy.staleness}, the staleness of the policy")
    accuracy, mixed, drawn = [learner.accuracy()], [], dict.fromkeys(learner.items, 0)
    late: list[dict[str, list[float]]] = []
    for _ in range(batches):
        batch = policy.next(size)
        rewards = learner.attempt(batch, rollouts)
        late.append(_by_item(batch, rewards))
        for name in batch:
            drawn[name] += 1
        for name, found in late.pop(0).items() if len(late) > lag else ():
            policy.observe(name, found)
        accuracy.append(learner.accuracy())
        mixed.append(float(((rewards.max(axis=1) > 0) & (rewards.min(axis=1) < 1)).mean()))
    return Course(np.array(accuracy), np.array(mixed), drawn)


def lattice_items(
    groups: int, nodes: Iterable[str] = ("", "s", "v", "c", "s+v", "s+c", "v+c", "s+v+c", "k")
) -> list[Item]:
    """A seed problem and its variants for each of so many groups, as in MathBook-Pro; `k` is a knowledge increment."""
    places = [(text, {axis: 1.0 for axis in text.split("+") if axis}) for text in nodes]
    return [Item(f"{g:04d}/{text or 'x0'}", f"{g:04d}", at) for g in range(groups) for text, at in places]


def _cost(item: Item, costs: Mapping[str, float]) -> float:
    return sum(costs.get(axis, 1.0) * value for axis, value in sorted(item.coordinates.items()))


def _by_item(batch: Sequence[str], rewards: Floats) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {}
    for name, row in zip(batch, rewards.tolist(), strict=True):
        found.setdefault(name, []).extend(row)
    return found
