"""What every sample policy keeps: equal draws for equal observations, exact resumption, one state on every rank."""

import json

import numpy as np
import pytest
from every_policy import ITEMS, POLICIES, RELEASED, SIZE
from hypothesis import given, settings
from hypothesis import strategies as st

from rota.core.errors import InputError
from rota.core.seeds import stream
from rota.training.samples import Item, SamplePolicy, SimulatedLearner, UniformSampler, practise, shard

names = st.sampled_from(sorted(POLICIES))


def rewards(seed, step, name):
    """What an item earns at a step: a function of both, so that two runs can be compared."""
    return stream(seed, "earned", step, name).integers(0, 2, 8).tolist()


def run(policy, steps, seed, start=0, lag=0):
    """Batches of some steps; each is observed in full, `lag` steps late."""
    batches = []
    for step in range(start, start + steps):
        batches.append(policy.next(SIZE))
        if len(batches) > lag:
            for name in set(batches[-1 - lag]):
                policy.observe(name, rewards(seed, step - lag, name))
    return batches


@pytest.mark.parametrize("make", (POLICIES | RELEASED).values(), ids=list(POLICIES | RELEASED))
def test_the_protocol_is_met(make):
    policy = make()
    assert isinstance(policy, SamplePolicy)
    batch = policy.next(SIZE)
    assert len(batch) == SIZE
    assert set(batch) <= set(policy.items)


@given(names, st.integers(0, 99))
@settings(max_examples=25, deadline=None)
def test_equal_seeds_and_observations_give_equal_draws(name, seed):
    assert run(POLICIES[name](seed), 8, seed) == run(POLICIES[name](seed), 8, seed)


@pytest.mark.parametrize("name", POLICIES)
def test_another_seed_gives_other_draws(name):
    assert run(POLICIES[name](1), 8, 0) != run(POLICIES[name](2), 8, 0)


@given(names, st.integers(0, 99), st.integers(0, 25), st.integers(0, SIZE))
@settings(max_examples=60, deadline=None)
def test_saved_at_any_point_the_continuation_is_the_same(name, seed, steps, told):
    whole = POLICIES[name](seed)
    run(whole, steps, seed)
    batch = sorted(set(whole.next(SIZE)))
    for item in batch[:told]:
        whole.observe(item, rewards(seed, steps, item))
    saved = json.loads(json.dumps(whole.state_dict()))
    again = POLICIES[name](seed)
    again.load_state_dict(saved)
    assert again.state_dict() == whole.state_dict()
    for policy in (whole, again):
        for item in batch[told:]:
            policy.observe(item, rewards(seed, steps, item))
    assert run(again, 6, seed, steps + 1) == run(whole, 6, seed, steps + 1)


@given(names, st.integers(0, 99), st.randoms(use_true_random=False))
@settings(max_examples=40, deadline=None)
def test_the_order_of_observations_within_a_batch_does_not_matter(name, seed, random):
    first, second = POLICIES[name](seed), POLICIES[name](seed)
    for step in range(6):
        batch = first.next(SIZE)
        assert second.next(SIZE) == batch
        order = sorted(set(batch))
        for item in order:
            first.observe(item, rewards(seed, step, item))
        random.shuffle(order)
        for item in order:
            second.observe(item, random.sample(earned := rewards(seed, step, item), len(earned)))
        assert second.state_dict() == first.state_dict()


@pytest.mark.parametrize("make", (POLICIES | RELEASED).values(), ids=list(POLICIES | RELEASED))
def test_an_item_that_is_observed_twice_counts_alike_in_either_order(make):
    states = []
    for found in ([[0.0, 0.0], [1.0, 1.0]], [[1.0, 1.0], [0.0, 0.0]]):
        policy = make()
        batch = policy.next(SIZE)
        for earned in found:
            for name in sorted(set(batch)):
                policy.observe(name, earned)
        following = policy.next(SIZE)
        states.append((following, policy.state_dict()))
    assert states[0] == states[1]


@pytest.mark.parametrize("name", ["lattice", "learnability"])
def test_staleness_is_honoured(name):
    policy = POLICIES[name]()
    assert policy.staleness == 1
    first = policy.next(SIZE)
    policy.next(SIZE)
    with pytest.raises(InputError, match="2 batches whose rewards were not all observed, expected at most 1"):
        policy.next(SIZE)
    for item in set(first):
        policy.observe(item, [1.0])
    assert len(policy.open_batches) <= 1
    policy.next(SIZE)


@pytest.mark.parametrize("name", ["lattice", "learnability"])
def test_a_lag_of_the_staleness_still_trains_and_a_longer_one_is_refused(name):
    learner = SimulatedLearner(ITEMS)
    course = practise(POLICIES[name](), learner, 60, SIZE, lag=1)
    assert course.accuracy[-1] > course.accuracy[0]
    with pytest.raises(InputError, match="at most 1"):
        practise(POLICIES[name](), learner, 2, SIZE, lag=2)


@given(st.integers(1, 8), st.integers(1, 5))
def test_shards_make_up_the_batch(ranks, each):
    batch = [f"{k}" for k in range(ranks * each)]
    parts = [shard(batch, rank, ranks) for rank in range(ranks)]
    assert [name for part in parts for name in part] == batch
    assert {len(part) for part in parts} == {each}


def test_what_does_not_shard_is_refused():
    with pytest.raises(InputError, match="a multiple of the 2 ranks"):
        shard(["a"], 0, 2)
    with pytest.raises(InputError, match="one from 0 to 1"):
        shard(["a", "b"], 2, 2)


@pytest.mark.parametrize(
    ("item", "found", "sentence"),
    [
        ("nobody", [1.0], "the name of one of 45 items"),
        ("0000/x0", [], "at least one number"),
        ("0000/x0", [float("nan")], "all finite"),
        ("0000/x0", [np.inf, 1.0], "all finite"),
        ("0000/x0", 0.5, "in a sequence"),
        ("0000/x0", ["a"], "at least one number"),
    ],
)
def test_bad_observations_are_refused(item, found, sentence):
    with pytest.raises(InputError, match=sentence):
        POLICIES["lattice"]().observe(item, found)


def test_bad_items_counts_and_states_are_refused():
    with pytest.raises(InputError, match="items: found none"):
        UniformSampler([])
    with pytest.raises(InputError, match="'a' twice"):
        UniformSampler([Item("a"), Item("b"), Item("a")])
    for count in (0, 1.5, "2"):
        with pytest.raises(InputError, match="a whole number of them, at least 1"):
            UniformSampler(ITEMS).next(count)
    for other in (UniformSampler(ITEMS, 1), UniformSampler(ITEMS[1:]), POLICIES["lattice"]()):
        with pytest.raises(InputError, match="as in this policy"):
            UniformSampler(ITEMS).load_state_dict(other.state_dict())


def test_a_state_of_other_items_is_refused_in_words():
    with pytest.raises(InputError, match="a state that belongs to other items, expected the 45 items"):
        UniformSampler(ITEMS).load_state_dict(UniformSampler(ITEMS[1:]).state_dict())


def test_whole_and_real_coordinates_are_the_same_items():
    whole, real = (UniformSampler([Item("a", "g", {"s": one, "v": 0.5})]) for one in (1, 1.0))
    real.load_state_dict(whole.state_dict())
    assert real.state_dict() == whole.state_dict()


@pytest.mark.parametrize("name", POLICIES)
@pytest.mark.parametrize("memory", [None, 3, {}, {"walks": {}, "shown": {}}, {"position": "a"}, {"counts": {"x": [1]}}])
def test_a_broken_memory_is_refused_and_changes_nothing(name, memory):
    policy = POLICIES[name]()
    policy.next(SIZE)
    before = policy.state_dict()
    with pytest.raises(InputError, match=r"^state"):
        policy.load_state_dict(before | {"drawn": 7, "memory": memory})
    assert policy.state_dict() == before
    with pytest.raises(InputError, match="a broken one"):
        policy.load_state_dict({key: value for key, value in before.items() if key != "open"})


def test_walks_off_their_paths_are_refused():
    policy = POLICIES["lattice"]()
    for key, value in (("place", 9), ("failures", [0])):
        state = json.loads(json.dumps(policy.state_dict()))
        state["memory"]["walks"]["0000"][key] = value
        with pytest.raises(InputError, match="a broken one"):
            policy.load_state_dict(state)
