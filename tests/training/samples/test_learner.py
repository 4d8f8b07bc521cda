"""The simulated learner, learnability sampling, and the reconstruction of the released We-Math scheduler."""

from collections import Counter

import numpy as np
import pytest

from rota.core.errors import InputError
from rota.training.samples import (
    Item,
    LearnabilitySampler,
    Practice,
    ReleasedWeMath,
    SimulatedLearner,
    UniformSampler,
    lattice_items,
    practise,
)
from rota.training.samples.released import CHAIN


class Perfect(SimulatedLearner):
    """Solves everything."""

    def probability(self, name):
        return 1.0


def by_node(course):
    counts = Counter()
    for name, drawn in course.drawn.items():
        counts[name.split("/")[1]] += drawn
    return counts


def test_the_released_scheduler_serves_the_last_node_for_ever():
    """The counts that were measured with the released class: 591 groups, batches of 512, 75 steps, a perfect model."""
    items = lattice_items(591)
    course = practise(ReleasedWeMath(items), Perfect(items), 75, 512)
    assert by_node(course)["s+v+c"] == 36_352
    groups = {name.split("/")[0] for name, drawn in course.drawn.items() if drawn}
    assert 591 - len(groups) == 79


def test_the_released_scheduler_never_schedules_an_increment():
    items = lattice_items(40)
    policy, learner = ReleasedWeMath(items), SimulatedLearner(items)
    for _ in range(40):
        assert {at for at in policy.where.values() if at is not None} <= set(CHAIN)
        practise(policy, learner, 1, 60)
    assert policy.wrong_pool
    assert None in policy.where.values()


def test_the_released_scheduler_does_not_resume():
    items = lattice_items(4)
    policy, again = ReleasedWeMath(items), ReleasedWeMath(items)
    practise(policy, Perfect(items), 3, 4)
    again.load_state_dict(policy.state_dict())
    assert policy.where != again.where


def test_misattribution_moves_other_groups_than_those_that_succeeded():
    items = lattice_items(40)
    right, wrong = ReleasedWeMath(items), ReleasedWeMath(items, misattribute=True)
    for policy in (right, wrong):
        for name in policy.next(40):
            policy.observe(name, [float(name < "0020")] * 8)
        policy.next(1)
    solved = {group for group, at in right.where.items() if at is not None}
    assert solved == {f"{k:04d}" for k in range(20)}
    assert len([at for at in wrong.where.values() if at is not None]) == 20
    assert {group for group, at in wrong.where.items() if at is not None} != solved


def test_practice_helps_and_is_repeatable():
    items = lattice_items(10)
    courses = [practise(UniformSampler(items, 1), SimulatedLearner(items, 1), 60, 16) for _ in range(2)]
    assert courses[0].accuracy[-1] > courses[0].accuracy[0] + 0.1
    np.testing.assert_array_equal(courses[0].accuracy, courses[1].accuracy)
    assert sum(courses[0].drawn.values()) == 60 * 16
    assert courses[0].accuracy.shape == (61,)
    assert courses[0].mixed.shape == (60,)


def test_nothing_is_learned_where_all_rollouts_agree():
    items = lattice_items(3)
    learner = SimulatedLearner(items, spread=0, harder=dict.fromkeys("svck", 100.0))
    before = learner.accuracy()
    learner.attempt(["0000/s"] * 50, 8)
    assert learner.accuracy() == before
    learner.attempt(["0000/x0"] * 50, 8)
    assert learner.accuracy() > before


def test_knowledge_can_be_forgotten():
    items = [Item("a", "a"), Item("b", "b")]
    learner = SimulatedLearner(items, spread=0, practice=Practice(forget=0.5, ability=0))
    learner.attempt(["a"] * 20, 8)
    high = learner.probability("a")
    learner.attempt(["b"], 8)
    assert 0.5 < learner.probability("a") < high


def test_harder_items_succeed_less():
    learner = SimulatedLearner(lattice_items(1))
    chances = [learner.probability(f"0000/{at}") for at in ("k", "x0", "v", "s", "s+v", "s+v+c")]
    assert chances == sorted(chances, reverse=True)


def test_learnability_prefers_what_is_sometimes_solved():
    items = [Item(name) for name in ("always", "never", "sometimes", "unknown")]
    policy = LearnabilitySampler(items, explore=0.0)
    for name, rewards in (("always", [1] * 16), ("never", [0] * 16), ("sometimes", [0, 1] * 8)):
        policy.observe(name, rewards)
    policy.next(1)
    weight = dict(zip(policy.names, policy.probabilities(), strict=True))
    assert weight["always"] == pytest.approx(weight["never"])
    assert weight["sometimes"] == pytest.approx(weight["unknown"])
    assert weight["sometimes"] > 4 * weight["always"]
    assert sum(weight.values()) == pytest.approx(1)


def test_learnability_explores_and_forgets():
    items = [Item(f"{k}") for k in range(4)]
    policy = LearnabilitySampler(items, explore=0.4, forget=0.5)
    for _ in range(3):
        policy.observe("0", [1] * 64)
    policy.next(1)
    assert policy.probabilities().min() >= 0.1
    high = policy.success("0")
    policy.observe("0", [0] * 64)
    policy.observe("0", [0] * 64)
    policy.next(1)
    assert policy.success("0") < 0.25 < high


def test_learnability_draws_no_item_twice_while_there_are_others():
    policy = LearnabilitySampler([Item(f"{k}") for k in range(5)])
    assert sorted(policy.next(5)) == list("01234")
    assert Counter(policy.next(12)).most_common()[0][1] == 3


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [({"prior": (0, 1)}, "positive pseudo-counts"), ({"forget": 1.5}, "a share"), ({"explore": -0.1}, "a share"), ({"staleness": -1}, "at least 0")],
)  # fmt: skip
def test_bad_settings_are_refused(arguments, sentence):
    with pytest.raises(InputError, match=sentence):
        LearnabilitySampler([Item("a")], **arguments)
