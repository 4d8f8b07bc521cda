import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rota.core.errors import InputError
from rota.serving.lengths import LengthDistribution
from rota.serving.lengths.scores import (
    coverage,
    crps,
    floor_of_law,
    floor_of_samples,
    kendall_tau,
    pinball,
    score,
)

lengths = st.lists(st.integers(1, 60), min_size=1, max_size=12)


@settings(deadline=None, max_examples=50)
@given(lengths, st.integers(1, 60))
def test_crps_is_the_squared_distance_of_the_distribution_functions(sample, y):
    one = LengthDistribution.of(sample)
    integral = sum((one.cdf(x) - (y <= x)) ** 2 for x in range(61))
    assert crps(one, y) == pytest.approx(integral, abs=1e-9)


def test_crps_of_a_certain_prediction_is_its_absolute_error():
    assert crps(LengthDistribution.point(10), 17) == 7


def test_pinball_by_hand_and_least_at_the_quantile():
    assert pinball(0.9, [10, 10], [20, 5]) == pytest.approx((0.9 * 10 + 0.1 * 5) / 2)
    y = np.random.default_rng(0).integers(1, 1000, 500)
    best = min(range(1, 1000), key=lambda q: pinball(0.75, [q] * 500, y))
    assert LengthDistribution.of(y).quantile(0.75) == best


def test_kendall_tau_counts_concordant_pairs():
    x, y = [1, 2, 3, 4], [10, 30, 20, 40]
    assert kendall_tau(x, y) == pytest.approx((5 - 1) / 6)
    assert kendall_tau(x, [4, 3, 2, 1]) == -1
    assert np.isnan(kendall_tau([5, 5, 5], [1, 2, 3]))


def test_coverage_counts_lengths_inside_the_interval():
    one = LengthDistribution.of(range(1, 101))
    assert coverage([one] * 4, [3, 50, 90, 100], 0.9) == 0.5


def test_the_truth_pays_the_floor_and_others_pay_more():
    rng = np.random.default_rng(5)
    law = [LengthDistribution.of(rng.integers(1, 500, 20)) for _ in range(3000)]
    y = [one.sample(rng) for one in law]
    floor, true = floor_of_law(law), score(law, y)
    assert true.mae == pytest.approx(floor.mae_low, rel=0.03)
    assert true.crps == pytest.approx(floor.crps, rel=0.03)
    assert true.coverage >= 0.89
    for wrong in (LengthDistribution.point(250), LengthDistribution.of([1, 499])):
        other = score([wrong] * len(y), y)
        assert other.mae > true.mae
        assert other.crps > true.crps
        assert other.pinball > true.pinball


def test_floors_from_ten_samples_enclose_the_truth_and_the_crps_is_unbiased():
    law = LengthDistribution.of(np.random.default_rng(1).lognormal(5, 0.5, 200).astype(int))
    rng = np.random.default_rng(2)
    estimate = floor_of_samples([law.samples(rng, 10) for _ in range(6000)])
    exact = floor_of_law([law])
    assert estimate.mae_low < exact.mae_low < estimate.mae_high
    assert estimate.mae_high < 1.3 * estimate.mae_low
    assert estimate.crps == pytest.approx(exact.crps, rel=0.02)


def test_floors_by_hand():
    floor = floor_of_samples([[1, 2, 6], [5]])
    assert floor.mae_low == pytest.approx((1 + 0 + 4) / 3)
    assert floor.mae_high == pytest.approx((abs(1 - 4) + abs(2 - 3.5) + abs(6 - 1.5)) / 3)
    assert floor.crps == pytest.approx((1 + 5 + 4) / 3 / 2)


def test_scores_need_one_prediction_for_each_length():
    with pytest.raises(InputError, match="found 1 predictions for 2 lengths"):
        score([LengthDistribution.point(1)], [1, 2])
    with pytest.raises(InputError, match="no prompt with two samples or more"):
        floor_of_samples([[4], [5]])
