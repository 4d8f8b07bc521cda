"""Policies behind torch's sampler and verl's interface."""

import itertools
import json
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rota.core.errors import InputError
from rota.training.samples import Item, LatticeCurriculum, Stage, StageSchedule, UniformSampler, lattice_items
from rota.training.samples.rows import BatchRows
from rota.training.samples.verl import curriculum_sampler


def test_the_room_needs_no_heavy_library():
    heavy = "torch", "transformers", "trl", "accelerate"
    code = f"import sys, rota.training.samples; print([m for m in {heavy!r} if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


@pytest.fixture
def sampler():
    pytest.importorskip("torch")
    from rota.training.samples.torch_sampler import ScheduledSampler

    return ScheduledSampler


def rows(policy):
    return {name: row for row, name in enumerate(reversed(list(policy.items)))}


def test_a_torch_loader_serves_what_the_policy_draws(sampler):
    from torch.utils.data import DataLoader, Sampler

    policy, same = UniformSampler(lattice_items(2)), UniformSampler(lattice_items(2))
    scheduled = sampler(policy, rows(policy), 6, 3)
    assert isinstance(scheduled, Sampler)
    names = list(reversed(list(policy.items)))
    served = [list(batch) for batch in DataLoader(names, batch_size=6, sampler=scheduled)]
    assert served == [same.next(6) for _ in range(3)]
    assert len(scheduled) == 18


def test_copies_and_repeats_are_in_trls_order(sampler):
    policy, same = UniformSampler(lattice_items(2)), UniformSampler(lattice_items(2))
    scheduled = sampler(policy, rows(policy), 2, 1, copies=3, repeats=2)
    a, b = (rows(policy)[name] for name in same.next(2))
    assert list(scheduled) == [a, a, a, b, b, b] * 2
    assert len(scheduled) == 12


def test_batches_are_drawn_no_sooner_than_needed(sampler):
    policy = LatticeCurriculum(lattice_items(3), staleness=0)
    names = {row: name for name, row in rows(policy).items()}
    stream, seen = iter(sampler(policy, rows(policy), 3, 4)), 0
    for row in stream:
        policy.observe(names[row], [1.0] * 8)
        seen += 1
    assert seen == 12


def test_open_batches_come_again_after_a_restart(sampler):
    policy = LatticeCurriculum(lattice_items(3))
    lost = policy.next(3)
    again = LatticeCurriculum(lattice_items(3))
    again.load_state_dict(policy.state_dict())
    served = list(sampler(again, rows(again), 3, 2))
    assert served[:3] == [rows(again)[name] for name in lost]
    assert served[3:] == [rows(again)[name] for name in policy.next(3)]


def schedules():
    items = lattice_items(3)
    yield UniformSampler(items)
    yield StageSchedule(items, [Stage("plain", {"s": 0}, until=2), Stage("all")], batch=5)


@given(st.integers(0, 70), st.integers(1, 3), st.integers(1, 2))
@settings(max_examples=40, deadline=None)
def test_schedules_resume_at_any_row(taken, copies, repeats):
    for policy, fresh in zip(schedules(), schedules(), strict=True):
        whole = BatchRows(policy, rows(policy), 5, 3, copies=copies, repeats=repeats)
        stream = itertools.chain.from_iterable(whole for _ in range(6))
        for _ in range(taken):
            next(stream)
        again = BatchRows(fresh, rows(fresh), 5, 3, copies=copies, repeats=repeats)
        again.load_state_dict(json.loads(json.dumps(whole.state_dict())))
        rest = list(again)
        assert len(rest) == len(whole) - taken % len(whole)
        assert rest + list(again) == list(itertools.islice(stream, len(rest) + len(whole)))


def test_only_open_batches_come_again_as_a_whole():
    policy, other = LatticeCurriculum(lattice_items(3)), LatticeCurriculum(lattice_items(3))
    names = {row: name for name, row in rows(policy).items()}
    whole, again = (BatchRows(each, rows(each), 3, 2, repeats=2) for each in (policy, other))
    stream = iter(whole)
    first = [next(stream) for _ in range(4)]
    again.load_state_dict(whole.state_dict())
    assert list(again)[:6] == first[:3] * 2
    for row in first[:3]:
        policy.observe(names[row], [1.0] * 8)
    again = BatchRows(other, rows(other), 3, 2, repeats=2)
    again.load_state_dict(whole.state_dict())
    assert list(again) == list(stream)


def test_a_second_restart_during_the_first_ones_repeats_loses_nothing():
    policy = LatticeCurriculum(lattice_items(3))
    names = {row: name for name, row in rows(policy).items()}
    whole = BatchRows(policy, rows(policy), 3, 4)
    stream = iter(whole)
    for row in [next(stream) for _ in range(3)]:
        policy.observe(names[row], [1.0] * 8)
    first = [next(stream) for _ in range(5)]
    for taken in (1, 4, 2):
        policy = LatticeCurriculum(lattice_items(3))
        again = BatchRows(policy, rows(policy), 3, 4)
        again.load_state_dict(whole.state_dict())
        whole, stream = again, iter(again)
        assert [next(stream) for _ in range(taken)] == first[:taken]
    served = first[:2]
    for row in stream:
        served.append(row)
        policy.observe(names[row], [1.0] * 8)
    assert served[:5] == first
    assert len(served) == len(whole) - 3


def test_open_batches_of_another_count_are_refused(sampler):
    policy = LatticeCurriculum(lattice_items(3))
    whole = sampler(policy, rows(policy), 3, 2)
    next(iter(whole))
    with pytest.raises(InputError, match="a batch of 3 items to resume, expected 2"):
        sampler(policy, rows(policy), 2, 2)
    fresh = LatticeCurriculum(lattice_items(3))
    with pytest.raises(InputError, match="a batch of 3 items to resume, expected 2"):
        sampler(fresh, rows(fresh), 2, 2).load_state_dict(whole.state_dict())
    assert fresh.drawn == 0
    with pytest.raises(InputError, match="what a sampler's `state_dict` gave"):
        whole.load_state_dict(policy.state_dict())


def test_bad_rows_and_counts_are_refused(sampler):
    policy = UniformSampler([Item("a"), Item("b"), Item("c")])
    with pytest.raises(InputError, match="no row for 'b' and 1 more"):
        sampler(policy, {"a": 0}, 1, 1)
    with pytest.raises(InputError, match="all at least 1"):
        sampler(policy, {"a": 0, "b": 1, "c": 2}, 0, 1)


class Proto(SimpleNamespace):
    """A stand-in for verl's DataProto: tensors in `batch`, other columns in `non_tensor_batch`."""


def finished(names, rewards, tokens=4):
    scores = np.zeros((len(names), tokens))
    scores[:, -1] = rewards
    return Proto(batch={"token_level_scores": scores}, non_tensor_batch={"id": np.array(names, dtype=object)})


class Base:
    """A stand-in for verl's AbstractCurriculumSampler."""


def verl_sampler():
    items = lattice_items(3)
    data = [{"id": item.id} for item in items]
    return curriculum_sampler(lambda data: LatticeCurriculum(items), base=Base)(data, {"train_batch_size": 3}), data


def test_verls_sampler_credits_a_reordered_batch():
    scheduled, data = verl_sampler()
    assert isinstance(scheduled, Base)
    stream = iter(scheduled)
    names = [data[next(stream)]["id"] for _ in range(3)]
    rollouts = names * 8
    rewards = [float(name == names[0]) for name in rollouts]
    order = np.random.default_rng(0).permutation(24)
    scheduled.update(finished([rollouts[k] for k in order], [rewards[k] for k in order]))
    next(stream)
    walks = scheduled.policy.walks
    assert walks[names[0].split("/")[0]].place == 1
    assert [walks[name.split("/")[0]].failures[0] for name in names] == [0, 1, 1]
    assert len(scheduled) == 27


def test_verls_sampler_resumes():
    scheduled, _ = verl_sampler()
    stream = iter(scheduled)
    first = [next(stream) for _ in range(3)]
    again, _ = verl_sampler()
    again.load_state_dict(scheduled.state_dict())
    restarted = iter(again)
    assert [next(restarted) for _ in range(6)] == first + [next(stream) for _ in range(3)]


def test_verls_sampler_refuses_open_batches_of_another_count():
    scheduled, data = verl_sampler()
    next(iter(scheduled))
    make = curriculum_sampler(lambda data: LatticeCurriculum(lattice_items(3)))
    with pytest.raises(InputError, match="a batch of 3 items to resume, expected 2"):
        make(data, {"train_batch_size": 2}).load_state_dict(scheduled.state_dict())


def test_verls_sampler_needs_a_row_for_every_item():
    with pytest.raises(InputError, match="no row for '0000/s'"):
        curriculum_sampler(lambda data: LatticeCurriculum(lattice_items(1)))(
            [{"id": "0000/x0"}], {"train_batch_size": 1}
        )
