"""The family: published values, closed forms against numeric ones, and what is refused."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rota.core.errors import InputError
from rota.training import (
    FAMILY,
    NoClosedForm,
    constant,
    cosine,
    exponential,
    hyperbolic,
    inverse_sqrt,
    k_decay,
    linear,
    one_cycle,
    one_minus_sqrt,
    polynomial,
    rex,
    schedule,
    steps,
    table,
    warmup,
    warmup_stable_decay,
)

SHARES = st.floats(0, 1)
MEMBERS = [
    constant(0.7), warmup(0.3, 0.1), warmup(7), polynomial(1.7), polynomial(0.5), linear(), rex(), rex(0.9), rex(0), rex(5e-5),
    rex(2e-4), cosine(), cosine(3, 2.0), inverse_sqrt(5), inverse_sqrt(0.1), one_minus_sqrt(), steps(), steps((0.2, 0.2), 0.5),
    exponential(), table([0.1, 1.0, 0.4]), table([0.5]), warmup_stable_decay(0.1, 0.3),
]  # fmt: skip
FALLING = [
    polynomial(2.0), linear(), rex(), rex(0.9), rex(0), cosine(), inverse_sqrt(3), inverse_sqrt(0.2), one_minus_sqrt(), exponential(),
    k_decay(3.0, 1.5), 0.5 * rex(), cosine().between(0.1), linear().lasting(0.5), rex().stretch(10, 40), rex().stretch(30, 40),
]  # fmt: skip


def area(one, start, end, total, points=20_001):
    """By trapezoids."""
    at = np.linspace(start, end, points)
    y = one(at, total)
    return float(((y[1:] + y[:-1]) / 2 * np.diff(at)).sum())


def test_rex_has_the_published_values():
    at = np.array([0, 0.1, 0.25, 0.5, 0.75, 0.9, 0.99, 1])
    expected = [1, 0.947368, 0.857143, 0.666667, 0.4, 0.181818, 0.019802, 0]
    np.testing.assert_allclose(rex()(at, 1), expected, atol=5e-7)


def test_rex_is_the_papers_formula_at_every_step():
    z = 1 - np.arange(1000) / 1000
    np.testing.assert_allclose(rex().table(1000), z / (0.5 + 0.5 * z), rtol=1e-13)


def test_the_means_of_rex_and_of_its_copies():
    assert rex().integral(0, 1, 1) == pytest.approx(2 - 2 * math.log(2), rel=1e-14)
    assert rex(0.9)(0.5, 1) == pytest.approx(0.909091, abs=5e-7)
    assert rex(0.9).integral(0, 1000, 1000) / 1000 == pytest.approx(0.826841, abs=5e-7)


@given(share=SHARES, beta=st.floats(0, 0.99))
def test_rex_is_its_own_inverse(share, beta):
    profile = rex(beta)
    assert profile(profile(share, 1), 1) == pytest.approx(share, abs=1e-9)


@pytest.mark.parametrize("one", MEMBERS, ids=repr)
@pytest.mark.parametrize(("start", "end"), [(0, 40), (3, 31.5), (7, 7)])
def test_an_integral_is_the_area(one, start, end):
    assert one.integral(start, end, 40) == pytest.approx(area(one, start, end, 40), abs=4e-3)


@pytest.mark.parametrize("one", FALLING, ids=repr)
@given(share=SHARES)
def test_an_inverse_is_the_step_with_that_value(one, share):
    factor = one(40, 40) + share * (one(0, 40) - one(40, 40))
    assert one(one.inverse(factor, 40), 40) == pytest.approx(factor, abs=1e-7)


def test_a_restart_comes_before_nought():
    assert cosine(1).inverse(0.0, 40) == 40
    assert cosine(1).inverse(0.5, 40) == pytest.approx(10)


@pytest.mark.parametrize("one", FALLING, ids=repr)
@pytest.mark.parametrize("factor", [1.5, 2.0, 1e300, -0.5, math.nan])
def test_a_factor_that_never_comes_is_refused(one, factor):
    with pytest.raises(InputError, match=r"factor: found .*, expected one that the schedule has"):
        one.inverse(factor, 40)


@pytest.mark.parametrize(
    "one", [constant(), steps(), one_cycle(), table([1, 0]), warmup(0.1) >> rex(), -1.0 * rex()], ids=repr
)
def test_no_inverse_is_said(one):
    with pytest.raises(NoClosedForm, match="has no closed inverse"):
        one.inverse(0.5, 10)


@pytest.mark.parametrize(
    "one", [one_cycle(), k_decay(), hyperbolic(), rex().floor(0.1), rex().sample(3), rex() * linear()], ids=repr
)
def test_no_integral_is_said(one):
    with pytest.raises(NoClosedForm, match="has no closed integral"):
        one.integral(0, 5, 10)


def test_members_at_points_worked_out_by_hand():
    assert cosine()(5, 10) == pytest.approx(0.5)
    assert cosine(1)(5, 10) == 1.0  # the restart
    assert cosine(1, 2.0)(2, 9) == pytest.approx(0.25)  # cycles of 3 and 6 steps
    assert inverse_sqrt(3)(9, 100) == 0.5
    assert one_minus_sqrt()(25, 100) == 0.5
    assert exponential(0.01)(50, 100) == pytest.approx(0.1)
    assert k_decay(2.0)(5, 10) == 0.75
    assert hyperbolic(2.0)(5, 10) == pytest.approx(math.sqrt(0.5 * 1.25 / 1.5))
    assert table([0, 1, 0])(2.5, 10) == 0.5
    assert one_cycle()(0, 10) == pytest.approx(0.04)
    assert one_cycle()(3, 10) == 1.0
    assert one_cycle()(10, 10) == pytest.approx(4e-6)


def test_one_cycle_is_torchs():
    torch = pytest.importorskip("torch")
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1, momentum=0.9)
    theirs = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=1.0, total_steps=101, final_div_factor=1e4)
    found = []
    for _ in range(101):
        found.append(theirs.get_last_lr()[0])
        optimizer.step()
        if len(found) < 101:
            theirs.step()
    # Torch puts the peak one step before the share of the run; on a grid of 101 points 0..100 that is step 29.3
    np.testing.assert_allclose(found, one_cycle(peak=0.293)(np.arange(101.0), 100), atol=1e-9)


@given(total=st.integers(1, 500), marks=st.sets(st.integers(1, 99), min_size=1, max_size=4))
def test_a_milestone_that_is_a_whole_step_acts_at_that_step(total, marks):
    shares = tuple(sorted(mark / 100 for mark in marks))
    passed = [sum(mark * total <= 100 * step for mark in marks) for step in range(total)]
    np.testing.assert_allclose(steps(shares, 0.5).table(total), 0.5 ** np.array(passed))


def test_warmup_ends_at_its_length_alone_too():
    np.testing.assert_allclose(warmup(4).table(8), [0, 0.25, 0.5, 0.75, 1, 1, 1, 1])
    np.testing.assert_allclose(warmup(0.5, 0.5).table(8), [0.5, 0.625, 0.75, 0.875, 1, 1, 1, 1])
    np.testing.assert_allclose((warmup(4) * linear()).table(8), warmup(4).table(8) * linear().table(8))


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("constant(float)", "schedule: found float"),
        ("constant('a')", "constant: found 'a', expected a finite number"),
        ("constant(1e999)", "constant: found inf, expected a finite number"),
        ("warmup(1.5)", "warmup: found 1.5, expected a step count >= 0, or a share from 0.0 to 1.0"),
        ("warmup(-3)", "warmup: found -3"),
        ("warmup(True)", "warmup: found True, expected steps"),
        ("polynomial(0)", "polynomial: power: found 0.0, expected a number > 0"),
        ("rex(1)", r"rex: beta: found 1.0, expected a number in \[0, 1\)"),
        ("cosine(-1)", "cosine: restarts: found -1, expected a count >= 0"),
        ("cosine(1, 0)", "cosine: growth: found 0.0, expected a number > 0"),
        ("inverse_sqrt(0)", "inverse_sqrt: scale: found 0, expected more than 0"),
        ("steps((0.5, 0.2))", "steps: milestones: found .*, expected ascending shares"),
        ("steps((0.5,), 0)", "steps: factor: found 0.0"),
        ("exponential(1)", r"exponential: end: found 1.0, expected a number in \(0, 1\)"),
        ("one_cycle(1)", "one_cycle: peak: found 1.0"),
        ("one_cycle(end=None)", "one_cycle: found None, expected a finite number"),
        ("k_decay(0)", "k_decay: k: found 0.0"),
        ("hyperbolic(0.5)", "hyperbolic: reach: found 0.5, expected a number >= 1"),
        ("table([])", "table: found .*, expected finite factors, at least one"),
    ],
)
def test_bad_arguments_are_one_sentence(text, sentence):
    with pytest.raises(InputError, match=sentence) as caught:
        schedule(text)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", sorted(FAMILY))
def test_members_are_finite_over_the_whole_run(name):
    one = {"warmup": warmup(0.1), "table": table([1, 0])}.get(name) or FAMILY[name]()
    found = one(np.arange(101.0), 100)
    assert np.isfinite(found).all()
    assert (found >= 0).all()
    assert (found <= 1).all()
