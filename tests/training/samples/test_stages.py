"""Stages: the right items at the right steps, one resumable run, and nothing that cannot be reached."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rota.core.errors import InputError
from rota.training.samples import Item, Stage, StageSchedule, UniformSampler

ITEMS = [Item(f"{m}/{k}", "", {"magnitude": m}) for m in (16, 8, 4, 2) for k in range(10)]
TEMPLE = [Stage(f"r{m}", {"magnitude": m}, "dpo", 1.0) for m in (16, 8, 4, 2)]


def temple(**more):
    return StageSchedule(ITEMS, [*TEMPLE, Stage("sft", None, "sft", reference="keep")], batch=4, **more)


def test_a_pass_is_as_many_steps_as_its_items_need():
    schedule = temple()
    assert schedule.begins == (0, 3, 6, 9, 12)
    assert schedule.total is None
    assert temple(total=20).total == 20
    assert StageSchedule(ITEMS, [Stage("a", until=2), Stage("b", until=2.5)], batch=8).total == 2 + 13


def test_each_step_belongs_to_its_stage():
    schedule = temple()
    assert [schedule.stage(step).name for step in (0, 2, 3, 11, 12, 10_000)] == ["r16", "r16", "r8", "r2", "sft", "sft"]
    entered = {step: stage.name for step in range(20) if (stage := schedule.entered(step))}
    assert entered == {0: "r16", 3: "r8", 6: "r4", 9: "r2", 12: "sft"}
    assert schedule.entered(12).reference == "keep"
    assert schedule.entered(12).objective == "sft"


@given(st.integers(0, 99))
@settings(max_examples=20, deadline=None)
def test_a_stage_draws_each_of_its_items_once_a_pass(seed):
    schedule = temple(seed=seed)
    for m in (16, 8, 4, 2):
        drawn = [name for _ in range(3) for name in schedule.next(4)]
        assert sorted(drawn[:10]) == sorted(f"{m}/{k}" for k in range(10))
        assert {schedule.items[name].coordinates["magnitude"] for name in drawn} == {m}
    assert schedule.step == 12
    rest = [name for _ in range(10) for name in schedule.next(4)]
    assert sorted(rest) == sorted(schedule.items)


@given(st.integers(0, 25))
@settings(max_examples=26, deadline=None)
def test_a_run_goes_on_where_it_was_stopped(stop):
    whole, again = temple(), temple()
    for _ in range(stop):
        whole.next(4)
    again.load_state_dict(json.loads(json.dumps(whole.state_dict())))
    assert again.step == stop
    assert [again.next(4) for _ in range(12)] == [whole.next(4) for _ in range(12)]


@given(st.integers(0, 25))
@settings(max_examples=10, deadline=None)
def test_a_schedule_can_go_to_any_step(step):
    walked, jumped = temple(), temple()
    for _ in range(step):
        walked.next(4)
    jumped.go_to(step, 4)
    assert jumped.state_dict() == walked.state_dict()
    uniform, other = UniformSampler(ITEMS), UniformSampler(ITEMS)
    for _ in range(step):
        uniform.next(4)
    other.go_to(step, 4)
    assert other.state_dict() == uniform.state_dict()


def test_a_filter_can_be_a_function():
    schedule = StageSchedule(ITEMS, [Stage("hard", lambda item: item.coordinates["magnitude"] < 8)], batch=20)
    assert {schedule.items[name].coordinates["magnitude"] for name in schedule.next(20)} == {4, 2}


@pytest.mark.parametrize(
    ("stages", "total", "sentence"),
    [
        ([Stage("a", {"magnitude": 3})], None, "stage 'a': found unreachable, for no item passes its filter"),
        ([Stage("a"), Stage("b")], None, "stage 'b': found unreachable, for 'a' has no end"),
        (
            [Stage("a", until=5), Stage("b", until=5), Stage("c")],
            10,
            "stage 'c': found unreachable, for it begins after",
        ),
        (
            [Stage("a", until=5), Stage("b", until=5), Stage("c")],
            5,
            "stage 'b': found unreachable, for it begins after",
        ),
        ([Stage("a", until=1), Stage("a")], None, "of different names"),
        ([], None, "found none"),
    ],
)
def test_what_cannot_be_reached_is_refused(stages, total, sentence):
    with pytest.raises(InputError, match=sentence):
        StageSchedule(ITEMS, stages, batch=4, total=total)


def test_bad_stages_steps_and_states_are_refused():
    with pytest.raises(InputError, match="above 0"):
        Stage("a", until=0)
    with pytest.raises(InputError, match="'rebase' or 'keep'"):
        Stage("a", reference="new")
    with pytest.raises(InputError, match="'reset' or 'keep'"):
        Stage("a", optimizer="new")
    with pytest.raises(InputError, match="batch: found 0"):
        StageSchedule(ITEMS, TEMPLE, batch=0)
    with pytest.raises(InputError, match="4, the batch"):
        temple().next(5)
    with pytest.raises(InputError, match="step: found -1"):
        temple().stage(-1)
    with pytest.raises(InputError, match="as in this schedule"):
        temple().load_state_dict(StageSchedule(ITEMS, TEMPLE, batch=4).state_dict())
