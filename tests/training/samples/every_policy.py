"""Every sample policy on the same items, for tests of what all of them keep."""

from rota.training.samples import (
    Item,
    LatticeCurriculum,
    LearnabilitySampler,
    ReleasedWeMath,
    Stage,
    StageSchedule,
    UniformSampler,
    lattice_items,
)

SIZE = 6
ITEMS = lattice_items(5)


def stages(seed=0):
    """Two stages: items without a step more, then those with one."""
    return StageSchedule(ITEMS, [Stage("plain", {"s": 0}, until=1.5), Stage("steps", {"s": 1})], batch=SIZE, seed=seed)


POLICIES = {
    "uniform": lambda seed=0: UniformSampler(ITEMS, seed),
    "lattice": lambda seed=0: LatticeCurriculum(ITEMS, seed),
    "learnability": lambda seed=0: LearnabilitySampler(ITEMS, seed),
    "stages": stages,
}
RELEASED = {"released": lambda seed=0: ReleasedWeMath(ITEMS, seed)}
__all__ = ["ITEMS", "POLICIES", "RELEASED", "SIZE", "Item"]
