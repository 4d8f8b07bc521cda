"""We-Math 2.0: dynamic data scheduling, as the paper describes it and as its release behaves, against simple sampling.

Every arm trains the same simulated learner (no language model) with the same number of rollouts: the lattice curriculum of the
paper, a reconstruction of the released scheduler with and without its misattributed rewards, uniform and learnability sampling.
What a curriculum can gain depends on how learning transfers, so there are three kinds of learner. Their rates were chosen by
looking at uniform sampling alone (seeds 100-102), such that it ends about two thirds of the way up.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

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

SCHEDULING = "dynamic scheduling RL on MathBook-Pro"
RELEASE = "released scheduler, reconstructed from a description of its behaviour"
BETTER = "At equal rollouts, the paper's schedule ends above uniform sampling: {} learner (gain in accuracy)"
RELEASED = "At equal rollouts, the released schedule ends above uniform sampling: {} learner (gain in accuracy)"
INCREMENTS = "Groups that fail are given increments before the next try (share of failing groups, released)"
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
    differs = f"{_DIFFERS}; {beside}; baseline: accuracy of every arm"
    return claim.measured(gain.value, _span(gain), found, baseline=baseline, differs=differs)


def _increments(claim: Stated, groups: int, seeds: int) -> Claim:
    """Of the groups that stand after a failure, the share that is given an increment next."""
    ours, theirs = zip(*(_aided(groups, seed) for seed in range(seeds)), strict=True)
    released, lattice = mean_interval(theirs), mean_interval(ours)
    found = verdict(_span(released), at_least=1.0)
    differs = f"{_DIFFERS}; failures at x0 have no increment and are left out"
    return claim.measured(
        released.value, _span(released), found, baseline={"rota's lattice": lattice.value}, differs=differs
    )


def _aided(groups: int, seed: int) -> tuple[float, float]:
    items = lattice_items(groups)
    lattice, released = LatticeCurriculum(items, seed), ReleasedWeMath(items, seed)
    for policy in (lattice, released):
        practise(policy, SimulatedLearner(items, seed, practice=LEARNERS["knowledge"]), BATCHES // 3, SIZE)
    failed = [walk.aided > 0 for walk in lattice.walks.values() if any(walk.failures[1:])]
    marked = [at not in CHAIN for group, at in released.where.items() if group in released.wrong_pool and at]
    return _share(failed), _share(marked)


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


class Perfect(SimulatedLearner):
    """Solves everything."""

    def probability(self, name: str) -> float:
        """One."""
        return 1.0


def _span(interval: Interval) -> tuple[float, float]:
    return interval.low, interval.high
