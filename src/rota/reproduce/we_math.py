"""We-Math 2.0: dynamic data scheduling, as the paper describes it and as its release behaves, against simple sampling.

Every arm trains the same simulated learner (no language model) with the same number of rollouts: the lattice curriculum of the
paper, a reconstruction of the released scheduler with and without its misattributed rewards, uniform and learnability sampling.
What a curriculum can gain depends on how learning transfers, so there are three kinds of learner. Their rates were chosen by
looking at uniform sampling alone (seeds 100-102), such that it ends about two thirds of the way up.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

import numpy as np

from rota.core.stats import Interval, mean_interval, paired_difference
from rota.reproduce.claims import Claim, Stated, verdict
from rota.training.samples import (
    Item,
    LatticeCurriculum,
    LearnabilitySampler,
    Practice,
    ReleasedWeMath,
    SamplePolicy,
    SimulatedLearner,
    UniformSampler,
    lattice_items,
    practise,
)
from rota.training.samples.lattice import PATH, Node, node
from rota.training.samples.released import CHAIN

PAPER = "Qiao et al., We-Math 2.0: A Versatile MathBook System for Incentivizing Visual Mathematical Reasoning (arXiv 2508.10433)"

LEARNERS: dict[str, Practice] = {
    "knowledge": Practice(knowledge=0.035, axis=0.0003, ability=0.0001),
    "skills": Practice(knowledge=0.006, axis=0.0008, ability=0.0001),
    "forgetful": Practice(knowledge=0.035, axis=0.0003, ability=0.0001, forget=0.003),
}
"""What is learned stays mostly within a group, is mostly shared by all groups, or fades."""

ARMS: dict[str, Callable[[Sequence[Item], int], SamplePolicy]] = {
    "lattice": lambda items, seed: LatticeCurriculum(items, seed),
    "released": lambda items, seed: ReleasedWeMath(items, seed),
    "released, misattributed": lambda items, seed: ReleasedWeMath(items, seed, misattribute=True),
    "uniform": lambda items, seed: UniformSampler(items, seed),
    "learnability": lambda items, seed: LearnabilitySampler(items, seed),
}

GROUPS, BATCHES, SIZE = 100, 150, 64
SERVED = 591, 75, 512
"""Groups, batches and batch size at which the released class was watched with a model that solves everything."""

Try = tuple[int, Node, bool]
"""Batch, node, and whether any rollout succeeded."""

SCHEDULING = "dynamic scheduling RL on MathBook-Pro"
RELEASE = "released scheduler, reconstructed from a description of its behaviour"
BETTER = "At equal rollouts, the paper's schedule ends above uniform sampling: {} learner (gain in accuracy)"
RELEASED = "At equal rollouts, the released schedule ends above uniform sampling: {} learner (gain in accuracy)"
INCREMENTS = "A group that fails at a variant is given increments before its next try (share of failures, released)"
EVERYONE = "Every group is scheduled (share of groups served in 75 batches of 512, released)"

CLAIMS: tuple[Stated, ...] = (
    *(Stated(f"schedule-{name}", SCHEDULING, BETTER.format(name), "improves") for name in LEARNERS),
    *(Stated(f"released-{name}", RELEASE, RELEASED.format(name)) for name in LEARNERS),
    Stated("increments", RELEASE, INCREMENTS, "all"),
    Stated("everyone", RELEASE, EVERYONE, "all"),
    Stated("average-reward", "pre-aligned RL", "The mean reward over variants of a principle trains better"),
    Stated("mathbook-7b", "main results", "MathBook-7B beats Qwen2.5-VL-7B on four benchmarks", "48.7 against 42.6"),
)

_DIFFERS = "a simulated learner, no language model; synthetic groups; equal rollouts; the released scheduler is a reconstruction"
_KNOWLEDGE = (
    "uniform and learnability sampling spend about 1/9 of their rollouts on knowledge items, which are never judged "
    "(lattice: about 1/10; released: none)"
)
_WATCHED = (
    "a failure is a try without a success, off x0; what is served between it and the next try of the variant was watched; "
    "failures without a next try are left out; groups outnumber the places of a batch, so that little or no random filling, which "
    "may serve increments by chance, takes place; baseline: the lattice curriculum, which after a second failure may first "
    "go one node back"
)


def run(seeds: int = 6, quick: bool = False, progress: Callable[[str], None] | None = None) -> list[Claim]:
    """Measure the claims. `quick` takes 40 groups and a third of the batches."""
    say = progress or (lambda line: None)
    stated = {claim.id: claim for claim in CLAIMS}
    groups, batches = (40, BATCHES // 3) if quick else (GROUPS, BATCHES)
    found = {}
    for name, practice in LEARNERS.items():
        say(f"training the {name} learner")
        found[name] = {arm: _accuracies(arm, practice, groups, batches, seeds) for arm in ARMS}
    say("watching the schedulers")
    return [
        *(_gain(stated[f"schedule-{name}"], arms, "lattice") for name, arms in found.items()),
        *(_gain(stated[f"released-{name}"], arms, "released") for name, arms in found.items()),
        _increments(stated["increments"], groups, seeds),
        _everyone(stated["everyone"]),
        stated["average-reward"].not_shown("it changes gradients, which a simulated learner does not have"),
        stated["mathbook-7b"].not_shown("needs a 7B vision-language model and its training data"),
    ]


def _accuracies(arm: str, practice: Practice, groups: int, batches: int, seeds: int) -> np.ndarray:
    """(seeds,) accuracy at the end, over the eight variants of every group."""
    return np.array([_accuracy(arm, practice, groups, batches, seed) for seed in range(seeds)])


def _accuracy(arm: str, practice: Practice, groups: int, batches: int, seed: int) -> float:
    items = lattice_items(groups)
    learner = SimulatedLearner(items, seed, practice=practice)
    practise(ARMS[arm](items, seed), learner, batches, SIZE * groups // GROUPS)
    return float(np.mean([learner.probability(item.id) for item in items if "k" not in item.node]))


def _gain(claim: Stated, arms: Mapping[str, np.ndarray], arm: str) -> Claim:
    """The arm's accuracy less that of uniform sampling, seed by seed; the claim holds if it is above 0."""
    other = paired_difference(arms[arm], arms["learnability"])
    gain = paired_difference(arms[arm], arms["uniform"])
    baseline = {name: float(values.mean()) for name, values in arms.items()}
    found = verdict(_span(gain), at_least=0.0)
    beside = f"against learnability sampling {other.value:+.3f} [{other.low:+.3f}, {other.high:+.3f}]"
    differs = f"{_DIFFERS}; {_KNOWLEDGE}; {beside}; baseline: accuracy of every arm"
    return claim.measured(gain.value, _span(gain), found, baseline=baseline, differs=differs)


def _increments(claim: Stated, groups: int, seeds: int) -> Claim:
    """Of the failures that are followed by another try, the share with an increment in between."""
    arms: dict[str, Collection[Node]] = {"released": CHAIN, "lattice": tuple(map(node, PATH))}
    seen = {arm: [aided(_watch(arm, groups, seed), path) for seed in range(seeds)] for arm, path in arms.items()}
    released = mean_interval([_share(found) for found in seen["released"]])
    baseline = {"rota's lattice": mean_interval([_share(found) for found in seen["lattice"]]).value}
    failures = ", ".join(f"{sum(map(len, found))} of the {arm} arm" for arm, found in seen.items())
    differs = f"{_DIFFERS}; {_WATCHED}; failures watched: {failures}"
    found = verdict(_span(released), at_least=1.0)
    return claim.measured(released.value, _span(released), found, baseline=baseline, differs=differs)


def _watch(arm: str, groups: int, seed: int) -> Mapping[str, Sequence[Try]]:
    """What each group was served in 50 batches, in order."""
    items = lattice_items(groups)
    learner = Watched(items, seed, practice=LEARNERS["knowledge"])
    practise(ARMS[arm](items, seed), learner, BATCHES // 3, SIZE * groups // GROUPS)
    return learner.tries


def aided(tries: Mapping[str, Sequence[Try]], path: Collection[Node]) -> list[bool]:
    """For each failure at a node of `path` (other than x0) that is tried again: whether a node off the path came in between."""
    return [off for own in tries.values() for off in _aided(own, path)]


def _aided(own: Sequence[Try], path: Collection[Node]) -> Iterator[bool]:
    solved = {(batch, at) for batch, at, success in own if success}
    for batch, at in dict.fromkeys((batch, at) for batch, at, _ in own if at and at in path):
        after = [there for later, there, _ in own if later > batch]
        if (batch, at) not in solved and at in after:
            yield any(there not in path for there in after[: after.index(at)])


def _share(which: Sequence[bool]) -> float:
    return sum(which) / len(which) if which else float("nan")


def _everyone(claim: Stated) -> Claim:
    groups, batches, size = SERVED
    items = lattice_items(groups)
    shares = {}
    for arm in ("released", "lattice", "uniform"):
        course = practise(ARMS[arm](items, 0), Perfect(items), batches, size)
        shares[arm] = len({item.group for item in items if course.drawn[item.id]}) / groups
    value = shares.pop("released")
    differs = (
        "a simulated learner that solves everything; nothing is random in the released arm, so there is no interval"
    )
    return claim.measured(
        value, (value, value), verdict((value, value), at_least=1.0), baseline=shares, differs=differs
    )


class Watched(SimulatedLearner):
    """Notes what each group is served, and whether any rollout of it succeeds, in `tries`."""

    def __init__(self, items: Iterable[Item], seed: int, *, practice: Practice) -> None:
        super().__init__(items, seed, practice=practice)
        self.tries: dict[str, list[Try]] = defaultdict(list)

    def attempt(self, batch: Sequence[str], rollouts: int) -> np.ndarray:
        """(batch, rollouts) rewards, as those of `SimulatedLearner`."""
        rewards = super().attempt(batch, rollouts)
        for name, row in zip(batch, rewards, strict=True):
            item = self.items[name]
            self.tries[item.group].append((self.batches, item.node, bool(row.max() > 0)))
        return rewards


class Perfect(SimulatedLearner):
    """Solves everything."""

    def probability(self, name: str) -> float:
        """One."""
        return 1.0


def _span(interval: Interval) -> tuple[float, float]:
    return interval.low, interval.high
