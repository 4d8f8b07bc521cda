"""Text and schedules: what `repr` writes is read back, and other texts are refused in one sentence."""

import contextlib
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from random_schedules import EXPRESSIONS

from rota.core.errors import InputError, RotaError, UnknownName
from rota.training import Schedule, cosine, inverse_sqrt, linear, rex, schedule, warmup


@given(one=EXPRESSIONS)
def test_what_repr_writes_is_read_back(one):
    again = schedule(repr(one))
    assert again == one
    assert hash(again) == hash(one)
    assert repr(again) == repr(one)
    assert Schedule.from_json(one.to_json()) == one
    assert pickle.loads(pickle.dumps(one)) == one


def outcome(one, total):
    """The factors of a run, or the sentence that says why there are none (parts that are too long for it)."""
    try:
        return one.table(total).tolist()
    except InputError as error:
        return str(error)


@given(one=EXPRESSIONS, total=st.integers(1, 100))
def test_a_copy_has_the_same_values_table_or_step_by_step(one, total):
    expected = outcome(one, total)
    assert outcome(schedule(repr(one)), total) == expected
    if isinstance(expected, list):
        assert np.isfinite(expected).all()
        assert [one(step, total) for step in range(total)] == expected
        assert np.isfinite(one(total, total))


def test_steps_and_shares_are_not_confused():
    assert warmup(1) != warmup(1.0)
    assert schedule("inverse_sqrt(1.0)") == inverse_sqrt(1.0) != inverse_sqrt(1)
    assert rex().lasting(1) != rex().lasting(1.0)
    assert linear() != rex(0)
    assert rex() != "rex()"


def test_numbers_of_numpy_are_spelt_plainly():
    one = np.float64(0.5) * (warmup(np.int64(3)) >> rex(np.float64(0.9)).floor(np.float32(0.5)))
    assert repr(one) == "0.5 * (warmup(3) >> rex(0.9).floor(0.5))"
    assert repr(rex().lasting(np.float64(0.25)).stretch(np.int64(3), 9)) == "rex().lasting(0.25).stretch(at=3, total=9)"


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("rex", rex()),
        ("  cosine ", cosine()),
        ("warmup(0.05) >> rex", warmup(0.05) >> rex()),
        ("rex * 0.5", 0.5 * rex()),
        ("warmup(length=10, start=0.5) >> (0.5 * cosine()).floor(0.1)", warmup(10, 0.5) >> (0.5 * cosine()).floor(0.1)),
        ("rex.sample([0.5, 0.75])", rex().sample((0.5, 0.75))),
    ],
)
def test_what_a_user_types(typed, meant):
    assert schedule(typed) == meant
    assert str(schedule(typed)) == repr(meant)


@pytest.mark.parametrize(
    "text",
    [
        "", "rex(", "3", "2 * 3", "[0] * 1000000000000", "warmup", "table(5)", "rex() >> 2", "rex() + rex()", "(3).floor(1)", "'a'.clip(0, 1)",
        "(lambda: rex())()", "rex(**{'beta': 1})", "rex(1, 2)", "rex(nothing=1)", "steps(5)", "{[]: 1}", "rex().floor", "\0", "(" * 500 + ")" * 500,
        "__import__('os')", "rex().__class__()", "rex().sample(['a'])", "rex().stretch('a', 3)", "rex().stretch(2.5, 4)", "rex() * 'a'",
    ],
)  # fmt: skip
def test_other_texts_are_refused_in_one_sentence(text):
    with pytest.raises(InputError) as caught:
        schedule(text)
    assert "\n" not in str(caught.value)


@given(st.text(alphabet="rexwamup()0.5>* ,'[]-1e", max_size=30))
def test_no_text_brings_the_reader_down(text):
    with contextlib.suppress(RotaError):
        assert isinstance(schedule(text), Schedule)


def test_a_misspelt_name_gets_the_nearest():
    with pytest.raises(UnknownName, match=r"found cosin, expected one of .* \(did you mean cosine"):
        schedule("cosin()")
    with pytest.raises(UnknownName, match=r"method: found flor, expected .* \(did you mean floor"):
        schedule("rex().flor(0.1)")


@pytest.mark.parametrize(
    "text", ["", "{}", "5", "[]", '{"rota_schedule": 2, "schedule": "rex()"}', '{"rota_schedule": 1, "schedule": 5}']
)
def test_other_json_is_refused(text):
    with pytest.raises(InputError, match=r"expected JSON that Schedule.to_json wrote"):
        Schedule.from_json(text)
