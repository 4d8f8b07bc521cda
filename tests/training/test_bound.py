"""The theory of linear decay, held against numbers."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from rota.core.errors import InputError
from rota.training import linear, rex
from rota.training.bound import (
    _bound_and_slope,
    absolute_value,
    bound,
    closed_form,
    hard_instance,
    numeric_optimum,
    promise,
)
from rota.training.refinement import factors

NORMS = {"flat": np.ones(60), "falling": np.linspace(5, 0.5, 60), "rising": np.linspace(0.5, 5, 60)}
positive = st.integers(2, 12).flatmap(
    lambda n: st.tuples(*[arrays(np.float64, n, elements=st.floats(0.05, 20)) for _ in range(2)])
)


def double_sum(lam, g, distance):
    """The bound as the paper writes it."""
    last = len(lam)
    left = [sum(lam[k:]) for k in range(last)]
    moved = [sum(g[t] ** 2 * lam[t] ** 2 for t in range(k, last)) for k in range(last)]
    pairs = sum(lam[k] / left[k + 1] * moved[k] / left[k] for k in range(last - 1))
    return distance**2 / (2 * left[0]) + moved[0] / (2 * left[0]) + pairs / 2


@given(both=positive, distance=st.floats(0.1, 10))
def test_the_bound_is_the_papers_double_sum(both, distance):
    lam, g = both
    assert bound(lam, g, distance) == pytest.approx(double_sum(lam, g, distance), rel=1e-9)


@given(both=positive)
def test_the_slope_is_the_bounds(both):
    lam, g = both
    slope = _bound_and_slope(np.log(lam), g, 2.0)[1]
    for k in range(len(lam)):
        up, down = lam.copy(), lam.copy()
        up[k], down[k] = lam[k] * math.exp(1e-5), lam[k] * math.exp(-1e-5)
        difference = (bound(up, g, 2.0) - bound(down, g, 2.0)) / 2e-5
        assert slope[k] == pytest.approx(difference, rel=1e-4, abs=1e-6 * bound(lam, g, 2.0))


@pytest.mark.parametrize("name", NORMS)
def test_no_step_sizes_do_better_than_the_numeric_optimum(name):
    g = NORMS[name]
    best = numeric_optimum(g)
    least = bound(best, g)
    rng = np.random.default_rng(0)
    for spread in (0.01, 0.1, 1.0):
        assert bound(best * np.exp(spread * rng.standard_normal(len(g))), g) > least
    closed = closed_form(g)
    held = np.concatenate([closed[:-1], closed[-2:-1]])
    assert least <= bound(held, g) <= 1.2 * least


def test_for_constant_norms_the_optimum_falls_along_a_line():
    best = numeric_optimum(np.ones(200))
    line = (1 - np.arange(1, 201) / 200) / math.sqrt(200)
    assert np.abs(best - line)[:190].max() < 0.02 * line[0]


@given(g=arrays(np.float64, st.integers(2, 50), elements=st.floats(0.01, 100)))
def test_the_closed_form_has_the_shape_of_refinement(g):
    sizes = closed_form(g)
    shape = factors(g, 2)[1:]
    np.testing.assert_allclose(sizes / sizes.max(), shape / shape.max(), rtol=1e-9)


def test_with_one_norm_it_is_linear_decay_with_the_classic_rate():
    np.testing.assert_allclose(
        closed_form(np.full(50, 4.0), 3.0), 3 / (4 * math.sqrt(50)) * (1 - np.arange(1, 51) / 50)
    )
    assert promise(np.full(50, 4.0), 3.0) == pytest.approx(3 * 4 / math.sqrt(50))


@pytest.mark.parametrize("total", [10, 100, 1000])
def test_absolute_value(total):
    at, root = np.arange(1.0, total + 1), math.sqrt(total)
    assert absolute_value(np.full(total, 1 / root)) * root == pytest.approx(1.0, abs=1e-3)
    assert absolute_value(linear()(at, total) / root) * root == pytest.approx(1 / total, rel=1e-3)
    assert absolute_value(rex()(at, total) / root) * root == pytest.approx(2 / (total + 1), rel=0.01)
    assert absolute_value(linear()(at, total) / root) <= promise(np.ones(total))


@pytest.mark.parametrize(
    ("total", "slow", "level", "falling"), [(64, 0.2428, 0.2122, 0.0316), (256, 0.3070, 0.2752, 0.0331), (1024, 0.3717, 0.3396, 0.0336)]
)  # fmt: skip
def test_hard_instance(total, slow, level, falling):
    t, root = np.arange(1.0, total + 1), math.sqrt(total)
    assert hard_instance(1 / np.sqrt(t)) * root == pytest.approx(slow, abs=1e-4)
    assert hard_instance(np.full(total, 1 / root)) * root == pytest.approx(level, abs=1e-4)
    assert hard_instance((1 - t / total) / root) * root == pytest.approx(falling, abs=1e-4)
    assert hard_instance(1 / np.sqrt(t)) >= math.log(total) / (32 * root)


def test_bad_input_is_said():
    with pytest.raises(InputError, match="found 2 step sizes and 3 norms"):
        bound([1.0, 1.0], [1.0, 1.0, 1.0])
    with pytest.raises(InputError, match="size of step 1: found 0"):
        bound([1.0, 0.0], [1.0, 1.0])
    with pytest.raises(InputError, match="gradient norm of step 1: found nan"):
        numeric_optimum([1.0, float("nan")])
