"""Samples that come when they are useful: policies that decide what a training loop sees next.

from rota.training.samples import Item, LatticeCurriculum

policy = LatticeCurriculum([Item("p1", "p1"), Item("p1 in two steps", "p1", {"s": 1}), ...])
batch = policy.next(16)                 # names of items
policy.observe(batch[0], [1, 0, 1, 1])  # the rewards of its rollouts

`torch_sampler`, `trl` and `verl` put a policy into a data loader; they are imported by name, as they need those libraries.
"""

from rota.training.samples.lattice import LatticeCurriculum
from rota.training.samples.learnability import LearnabilitySampler
from rota.training.samples.learner import Course, Practice, SimulatedLearner, lattice_items, practise
from rota.training.samples.perturb import Preference, drop, preference_pairs, reverse, shuffle
from rota.training.samples.policy import BatchPolicy, Item, SamplePolicy, shard
from rota.training.samples.released import ReleasedWeMath
from rota.training.samples.rewards import averaged, group_mean_reward
from rota.training.samples.stages import Stage, StageSchedule
from rota.training.samples.uniform import UniformSampler

__all__ = [
    "BatchPolicy", "Course", "Item", "LatticeCurriculum", "LearnabilitySampler", "Practice", "Preference", "ReleasedWeMath",
    "SamplePolicy", "SimulatedLearner", "Stage", "StageSchedule", "UniformSampler", "averaged", "drop", "group_mean_reward",
    "lattice_items", "practise", "preference_pairs", "reverse", "shard", "shuffle",
]  # fmt: skip
