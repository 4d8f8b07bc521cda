"""The algebra: sequences, sampling, stretching and bounds; integrals and inverses through it; bad input."""

import dataclasses
import math
import pickle
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from random_schedules import EXPRESSIONS, FACTOR

from rota.core.errors import InputError
from rota.training import (
    NoClosedForm,
    Plan,
    constant,
    cosine,
    exponential,
    linear,
    one_cycle,
    polynomial,
    rex,
    schedule,
    steps,
    warmup,
)

SMOOTH = st.sampled_from([linear(), rex(), cosine(), polynomial(2.0), rex(0.9), exponential(), warmup(0.1) >> rex()])


def area(one, start, end, total, points=40_001):
    at = np.linspace(start, end, points)
    y = one(at, total)
    return float(((y[1:] + y[:-1]) / 2 * np.diff(at)).sum())


def test_parts_begin_where_those_before_end():
    one = constant(0.1).lasting(3) >> constant(0.2).lasting(0.4) >> constant(0.3)
    np.testing.assert_array_equal(one.table(10), [0.1] * 3 + [0.2] * 4 + [0.3] * 3)


@given(total=st.integers(1, 300), percent=st.integers(0, 100))
def test_a_share_that_is_a_whole_number_of_steps_ends_at_that_step(total, percent):
    one = constant(1.0).lasting(percent / 100) >> constant(0.5)
    assert one.table(total).tolist() == [1.0 if 100 * step < percent * total else 0.5 for step in range(total)]


def test_each_part_runs_over_its_own_length():
    one = warmup(4) >> linear()
    np.testing.assert_allclose(one.table(12)[:4], [0, 0.25, 0.5, 0.75])
    np.testing.assert_allclose(one.table(12)[4:], linear().table(8))
    assert one(12, 12) == 0.0


def test_parts_of_no_length_leave_no_trace():
    assert (warmup(0) >> rex()).table(9).tolist() == rex().table(9).tolist()
    assert (rex() >> constant(5.0).lasting(0.0)).table(9).tolist() == rex().table(9).tolist()
    assert (rex() >> constant(5.0).lasting(0))(9, 9) == 0.0
    full = warmup(9) >> rex()
    assert full(9, 9) == 1.0
    assert (constant(2.0).lasting(0) >> constant(3.0).lasting(0))(0, 5) == 3.0


def test_the_last_value_stays_when_the_parts_are_shorter_than_the_run():
    one = warmup(2) >> linear().between(0.25).lasting(4)
    np.testing.assert_allclose(one.table(9), [0, 0.5, 1, 0.8125, 0.625, 0.4375, 0.25, 0.25, 0.25])
    assert one.integral(0, 9, 9) == pytest.approx(area(one, 0, 9, 9), abs=1e-3)


def test_parts_longer_than_the_run_are_refused():
    with pytest.raises(
        InputError, match="sequence: found parts of 1500000 steps, expected at most 1000000, the length of the run"
    ):
        (warmup(1_500_000) >> rex()).over(1_000_000)
    with pytest.raises(InputError, match=r"sequence: found parts that last 1.2 of the run, expected at most 1"):
        warmup(0.6) >> linear().lasting(0.6)
    with pytest.raises(
        InputError, match=r"sequence: found rex\(\) and linear\(\) without a length, expected one such part"
    ):
        rex() >> linear()


def test_a_part_that_does_not_fit_is_found_before_the_run():
    inner = (warmup(30) >> rex()).lasting(0.5)
    with pytest.raises(InputError, match="found parts of 30 steps, expected at most 25"):
        (linear() >> inner).over(50)
    assert (linear() >> inner).over(60)(60) == 1.0


def test_sequences_are_associative_and_nest():
    a, b, c = warmup(2), constant(0.5).lasting(3), rex()
    assert (a >> b) >> c == a >> (b >> c)
    nested = (warmup(0.5) >> constant()).lasting(0.4) >> linear()
    np.testing.assert_allclose(nested.table(10), [0, 0.5, 1, 1, 1, 5 / 6, 4 / 6, 0.5, 2 / 6, 1 / 6])


def test_alone_a_part_keeps_its_length():
    np.testing.assert_allclose(linear().lasting(4).table(6), [1, 0.75, 0.5, 0.25, 0, 0])
    assert linear().lasting(4).integral(0, 6, 6) == pytest.approx(2.0)
    assert linear().between(0.5).lasting(0.5).integral(0, 6, 6) == pytest.approx(0.75 * 3 + 0.5 * 3)


COMPOSED = [
    warmup(0.1) >> rex(), warmup(7, 0.2) >> cosine() >> linear().between(0.0, 0.1).lasting(0.25), 3 * rex(), rex().between(0.1, 0.8),
    rex().stretch(13, 30), (warmup(5) >> linear()).stretch(10, 20), rex().stretch(5, 20).stretch(10, 60), -0.5 * cosine(2),
    (warmup(0.1) >> constant().lasting(0.3) >> rex()).lasting(30),
]  # fmt: skip


@pytest.mark.parametrize("one", COMPOSED, ids=repr)
@given(ends=st.tuples(st.floats(0, 40), st.floats(0, 40)).map(sorted))
def test_an_integral_goes_through_the_algebra(one, ends):
    assert one.integral(*ends, 40) == pytest.approx(area(one, *ends, 40), abs=5e-3)


def test_an_inverse_goes_through_the_algebra():
    one = (0.5 * rex().between(0.2)).stretch(10, 20)
    for step in (3.0, 10.0, 25.0, 39.0):
        assert one.inverse(one(step, 40), 40) == pytest.approx(step, abs=1e-9)


@given(one=EXPRESSIONS, total=st.integers(1, 60), ends=st.tuples(st.floats(0, 1), st.floats(0, 1)).map(sorted))
def test_whatever_is_composed_has_its_area_or_none(one, total, ends):
    start, end = (share * total for share in ends)
    edges = np.linspace(start, end, 20_001)
    try:
        middles = one((edges[1:] + edges[:-1]) / 2, total)
        found = one.integral(start, end, total)
    except (NoClosedForm, InputError):  # no closed form, or parts that are too long for the run
        return
    assert found == pytest.approx(
        middles.mean() * (end - start), abs=1e-6 + 4e-3 * (end - start) * (np.ptp(middles) + 0.01)
    )


@given(one=EXPRESSIONS, total=st.integers(1, 60), factor=FACTOR)
def test_whatever_is_composed_has_the_factor_where_its_inverse_says(one, total, factor):
    try:
        at = one.inverse(factor, total)
    except (NoClosedForm, InputError):
        return
    assert one(at, total) == pytest.approx(factor, abs=1e-6)


def test_bounds_cut_off_and_between_keeps_the_shape():
    at = np.arange(11.0)
    np.testing.assert_array_equal(linear().floor(0.35)(at, 10), np.maximum(linear()(at, 10), 0.35))
    np.testing.assert_array_equal(linear().clip(0.2, 0.7)(at, 10), np.clip(linear()(at, 10), 0.2, 0.7))
    np.testing.assert_allclose(linear().between(0.2, 0.6)(at, 10), 0.2 + 0.4 * linear()(at, 10))
    np.testing.assert_array_equal((linear() * rex())(at, 10), linear()(at, 10) * rex()(at, 10))
    np.testing.assert_array_equal((2 * rex())(at, 10), (rex() * 2)(at, 10))


def test_a_profile_is_refreshed_at_its_sampling_rate():
    np.testing.assert_allclose(linear().sample(3).table(7), [1, 1, 1, 4 / 7, 4 / 7, 4 / 7, 1 / 7])
    np.testing.assert_allclose(linear().sample(0.5).table(6), [1, 1, 1, 0.5, 0.5, 0.5])
    np.testing.assert_allclose(rex().sample([0.5, 0.75]).table(8), [1] * 4 + [2 / 3] * 2 + [0.4] * 2)
    assert rex().sample(1).table(50).tolist() == rex().table(50).tolist()


@given(total=st.integers(1, 200), parts=st.integers(1, 12))
def test_a_share_refreshes_that_often(total, parts):
    held = linear().sample(1 / parts)(np.arange(float(total * parts)), total * parts)
    np.testing.assert_allclose(held, np.repeat(linear().table(parts), total), atol=1e-12)


@given(one=SMOOTH, at=st.integers(0, 99), total=st.integers(2, 400))
def test_a_stretch_changes_nothing_before_and_does_not_jump(one, at, total):
    if total <= at:
        with pytest.raises(InputError, match=f"total: found {total}, expected more than {at}"):
            one.over(100).stretched(at, total)
        return
    planned, changed = one.over(100), one.over(100).stretched(at, total)
    assert changed.table()[: at + 1].tolist() == planned.table()[: at + 1].tolist()
    assert changed(total) == pytest.approx(planned(100), abs=1e-12)
    assert changed(at + 1e-7) == pytest.approx(changed(at), abs=1e-5)


@given(one=SMOOTH, at=st.integers(0, 99))
def test_a_stretch_to_the_same_budget_is_the_plan(one, at):
    assert one.over(100).stretched(at, 100).table().tolist() == one.table(100).tolist()


@given(
    one=SMOOTH,
    first=st.integers(0, 40),
    second=st.integers(0, 39),
    budgets=st.tuples(st.integers(41, 200), st.integers(81, 300)),
)
def test_stretches_nest_and_resume(one, first, second, budgets):
    once = one.over(80).stretched(first, budgets[0])
    at = max(first, second)
    twice = once.stretched(at, budgets[1])
    assert twice.table()[: at + 1].tolist() == once.table()[: at + 1].tolist()
    again = pickle.loads(pickle.dumps(twice))
    assert [again(step) for step in range(at, budgets[1])] == twice.table()[at:].tolist()


def test_what_is_left_is_spread_over_what_is_left():
    np.testing.assert_allclose(linear().over(4).stretched(2, 6).table(), [1, 0.75, 0.5, 0.375, 0.25, 0.125])


def test_a_plan_is_iterable_and_as_long_as_the_run():
    plan = rex().over(7)
    assert list(plan) == [plan(step) for step in range(7)] == rex().table(7).tolist()
    assert len(plan) == 7


@pytest.mark.parametrize(
    ("act", "sentence"),
    [
        (lambda: rex()(11, 10), "step: found 11, expected one from 0 to 10, the length of the run"),
        (lambda: rex()(1_000_001, 1_000_000), "step: found 1000001, expected one from 0 to 1000000"),
        (lambda: rex()(-1, 10), "step: found -1,"),
        (lambda: rex()(math.nan, 10), "step: found nan,"),
        (lambda: rex()(np.array([1.0, 12.0]), 10), "step: found 12,"),
        (lambda: rex()(0, 0), "total: found 0, expected a number of steps > 0"),
        (lambda: rex()(0, math.nan), "total: found nan,"),
        (lambda: rex()(0, "10"), "total: found '10',"),
        (lambda: rex().over(True), "total: found True,"),
        (lambda: rex().over(-5), "total: found -5,"),
        (lambda: rex().over(10.5), "total: found 10.5, expected a whole number of steps"),
        (lambda: rex().integral(5, 3, 10), "integral: found from 5 to 3, expected ascending steps from 0 to 10"),
        (lambda: rex().integral(0, 11, 10), "integral: found from 0 to 11,"),
        (lambda: rex().clip(0.5, 0.1), r"clip: found \(0.5, 0.1\), expected bounds in ascending order"),
        (lambda: rex().floor(math.nan), "floor: found nan, expected a finite number"),
        (lambda: rex().between("a"), "between: found 'a', expected a finite number"),
        (lambda: rex() * math.inf, "factor: found inf, expected a finite number"),
        (lambda: rex().lasting(1.5), "lasting: found 1.5, expected a step count >= 0, or a share"),
        (lambda: rex().lasting("a"), r"lasting: found 'a', expected steps \(an int\) or a share"),
        (lambda: rex().sample(0), "sample: found 0, expected a step count >= 1"),
        (lambda: rex().sample([]), "sample: found .*, expected ascending shares"),
        (lambda: rex().sample([0.5, 0.2]), r"sample: found \[0.5, 0.2\], expected ascending shares"),
        (lambda: rex().sample([0.5, 1.0]), "sample: found .*, expected ascending shares"),
        (
            lambda: rex().stretch(10, 10),
            "stretch: found at step 10, expected a whole step >= 0, before the planned end 10",
        ),
        (lambda: rex().stretch(-1, 10), "stretch: found at step -1,"),
        (lambda: rex().stretch(2.5, 10), "stretch: found at step 2.5,"),
    ],
)
def test_bad_input_is_one_clear_sentence(act, sentence):
    with pytest.raises(InputError, match=sentence) as caught:
        act()
    assert "\n" not in str(caught.value)


def test_what_is_no_schedule_cannot_be_put_after_one():
    with pytest.raises(TypeError):
        rex() >> 0.5


def test_schedules_cannot_be_changed_and_can_be_keys():
    one = warmup(0.1) >> rex()
    with pytest.raises(dataclasses.FrozenInstanceError):
        one.parts = ()
    with pytest.raises(dataclasses.FrozenInstanceError):
        rex().beta = 0.9
    assert {one: 1}[warmup(0.1) >> rex()] == 1
    assert pickle.loads(pickle.dumps(Plan(one, 10))) == Plan(one, 10)


def test_no_closed_form_is_kept_through_the_algebra():
    for one in (0.5 * one_cycle(), one_cycle().between(0.1), warmup(0.1) >> one_cycle(), one_cycle().stretch(3, 6)):
        with pytest.raises(NoClosedForm, match="no closed integral"):
            one.integral(0, 10, 10)
    with pytest.raises(NoClosedForm, match="no closed inverse"):
        (0.5 * steps()).inverse(0.1, 10)


def test_the_import_is_light():
    heavy = ("torch", "plotly", "scipy", "transformers", "trl", "optax", "jax", "keras", "sklearn")
    code = f"import sys, rota.training; print([name for name in {heavy} if name in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


@pytest.mark.parametrize(
    "wrap", [lambda w: 0.5 * w, lambda w: w.floor(0.01), lambda w: w.between(0.1, 0.9), lambda w: w.sample(1)]
)
def test_what_is_made_of_a_part_lasts_as_long_as_it(wrap):
    part = wrap(warmup(0.1))
    whole = part >> rex()
    assert whole(30, 100) == rex()(20, 90)
    assert [whole(k, 100) for k in range(10)] == [part(k, 100) for k in range(10)]
    assert schedule(repr(whole)) == whole


@pytest.mark.parametrize("step", ["a", None, [1, "b"], object()])
def test_a_step_that_is_no_number_is_refused_in_a_sentence(step):
    with pytest.raises(InputError, match="step"):
        rex()(step, 10)


@pytest.mark.parametrize("arguments", [(2000, 2.0), (True,), (3, math.inf)])
def test_cosine_cycles_that_cannot_be_are_refused(arguments):
    with pytest.raises(InputError, match="cosine"):
        cosine(*arguments)
