"""Intervals against SciPy, against enumeration, and against what they promise."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rota.core import stats


@pytest.mark.parametrize("df", [1, 2, 3, 4, 7, 9.5, 29, 100, 1e4, 1e6])
@pytest.mark.parametrize("p", [0.5, 0.6, 0.9, 0.95, 0.975, 0.995, 0.9999, 0.025, 0.2])
def test_student_quantiles_are_those_of_scipy(p, df):
    scipy = pytest.importorskip("scipy.stats")
    assert stats.student_quantile(p, df) == pytest.approx(scipy.t.ppf(p, df), rel=1e-8, abs=1e-12)
    assert stats.student_cdf(1.3, df) == pytest.approx(scipy.t.cdf(1.3, df), abs=1e-9)


@pytest.mark.parametrize("x", [0.0, 1e-6, 0.1, 0.5, 0.73, 0.999, 1.0])
@pytest.mark.parametrize(("a", "b"), [(0.5, 0.5), (2.0, 3.0), (30.0, 0.5), (0.1, 8.0)])
def test_incomplete_beta_is_that_of_scipy(a, b, x):
    special = pytest.importorskip("scipy.special")
    assert stats.incomplete_beta(a, b, x) == pytest.approx(special.betainc(a, b, x), rel=1e-11, abs=1e-300)


def test_mean_interval_of_five():
    mean, low, high, n = stats.mean_interval([1.0, 2.0, 3.0, 4.0, 5.0])
    half = 2.7764451051977987 * math.sqrt(2.5) / math.sqrt(5)  # t of 4 degrees of freedom, from a table
    assert (mean, n) == (3.0, 5)
    assert (low, high) == pytest.approx((3 - half, 3 + half))


def test_mean_interval_covers_as_often_as_it_says():
    rng = np.random.default_rng(1)
    hits = [low <= 2.0 <= high for _, low, high, _ in (stats.mean_interval(rng.normal(2, 3, 5)) for _ in range(2000))]
    assert 0.935 < np.mean(hits) < 0.965


def test_few_and_missing_observations():
    assert stats.mean_interval([7.0]) == (7.0, -math.inf, math.inf, 1)
    assert stats.mean_interval([7.0, math.nan, 9.0])[0] == 8.0
    for nothing in (stats.mean_interval([]), stats.median_interval([math.nan]), stats.ratio_interval([], [])):
        assert all(math.isnan(value) for value in nothing[:3])
        assert nothing.n == 0


def test_paired_difference_is_narrower_than_unpaired():
    rng = np.random.default_rng(2)
    common = rng.normal(0, 10, 20)
    a, b = common + rng.normal(1, 0.1, 20), common
    paired = stats.paired_difference(a, b)
    assert 0.8 < paired.low < 1 < paired.high < 1.2
    assert stats.mean_interval(a).high - stats.mean_interval(a).low > 20 * (paired.high - paired.low)
    assert stats.paired_difference([1.0, math.nan, 3.0], [0.0, 0.0, 1.0]).n == 2


@pytest.mark.parametrize("n", [1, 2, 5, 6, 10, 51, 3000])
def test_median_interval_is_the_narrowest_that_covers(n):
    binom = pytest.importorskip("scipy.stats").binom
    middle, low, high, _ = stats.median_interval(np.random.default_rng(n).permutation(n))
    assert middle == (n - 1) / 2
    assert low + high == n - 1, "symmetric ranks"
    assert n < 6 or 2 * binom.cdf(low, n, 0.5) <= 0.05 + 1e-12
    assert low + 1 > (n - 1) // 2 or 2 * binom.cdf(low + 1, n, 0.5) > 0.05


def test_ratio_interval_is_seeded_and_holds_the_ratio():
    rng = np.random.default_rng(3)
    b = rng.uniform(1, 2, 40)
    a = 3 * b + rng.normal(0, 0.3, 40)
    ratio = stats.ratio_interval(a, b)
    assert ratio == stats.ratio_interval(a, b) != stats.ratio_interval(a, b, seed=1)
    assert ratio.value == pytest.approx(a.mean() / b.mean())
    assert 2.9 < ratio.low < 3 < ratio.high < 3.1
    assert stats.ratio_interval(3 * b, b)[:3] == pytest.approx((3, 3, 3))
    assert stats.ratio_interval([1.0], [0.0]).value == math.inf


@settings(deadline=None, max_examples=50)
@given(
    st.lists(st.tuples(st.integers(-20, 20), st.integers(0, 5)), min_size=1, max_size=20),
    st.lists(st.floats(0, 1), min_size=1, max_size=4),
)
def test_weighted_quantiles_are_those_of_repeated_values(pairs, q):
    values, weights = np.array(pairs).T
    found = stats.weighted_quantiles(values, weights, q)
    if not weights.sum():
        assert np.isnan(found).all()
        return
    repeated = np.sort(np.repeat(values, weights))
    expected = [repeated[max(math.ceil(share * len(repeated)) - 1, 0)] for share in q]
    assert found.tolist() == expected


def test_log_ratio_interval_is_the_t_interval_of_logs():
    found = stats.log_ratio_interval([2.0, 8.0, 4.0], [1.0, 2.0, 2.0])
    logs = stats.mean_interval(np.log([2.0, 4.0, 2.0]))
    assert found == pytest.approx((np.exp(logs.value), np.exp(logs.low), np.exp(logs.high), 3))


def test_log_ratio_interval_drops_pairs_without_a_logarithm():
    assert stats.log_ratio_interval([2.0, 0.0, 3.0], [1.0, 1.0, 1.0]).n == 2


def test_a_lower_level_gives_a_narrower_interval_of_log_ratios():
    a, b = [1.2, 1.5, 1.1, 1.9], [1.0, 1.1, 1.0, 1.2]
    wide, narrow = stats.log_ratio_interval(a, b), stats.log_ratio_interval(a, b, level=0.5)
    assert wide.low < narrow.low < narrow.value == wide.value < narrow.high < wide.high
