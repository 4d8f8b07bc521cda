import functools
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rota.core.errors import InputError
from rota.serving.lengths import LengthDistribution

ONE = LengthDistribution.of([2, 5, 5, 9])

distributions = st.builds(
    lambda atoms: LengthDistribution.of([x for x, _ in atoms], [w for _, w in atoms]),
    st.lists(st.tuples(st.integers(1, 40), st.integers(1, 9)), min_size=1, max_size=8),
)


def test_an_empirical_distribution_merges_equal_lengths():
    assert ONE.support.tolist() == [2, 5, 9]
    assert ONE.weight.tolist() == [0.25, 0.5, 0.25]
    assert ONE.mean() == 5.25
    assert ONE.std() == pytest.approx(np.std([2, 5, 5, 9]))


def test_cdf_and_quantiles_of_a_small_case():
    assert [ONE.cdf(x) for x in (1, 2, 4.9, 5, 9, 100)] == [0, 0.25, 0.25, 0.75, 1, 1]
    assert [ONE.quantile(q) for q in (0, 0.25, 0.2501, 0.75, 0.76, 1)] == [2, 2, 5, 5, 9, 9]


@settings(deadline=None, max_examples=50)
@given(distributions, st.floats(0, 1))
def test_a_quantile_is_the_smallest_length_that_reaches_the_level(one, q):
    x = one.quantile(q)
    assert one.cdf(x) >= q - 1e-9
    assert x == one.support[0] or one.cdf(x - 1) < q + 1e-9


@settings(deadline=None, max_examples=50)
@given(distributions)
def test_the_mean_difference_agrees_with_all_pairs(one):
    x, w = one.support, one.weight
    pairs = sum(w[i] * w[j] * abs(x[i] - x[j]) for i in range(len(x)) for j in range(len(x)))
    assert one.mean_difference() == pytest.approx(pairs, abs=1e-9)
    assert one.mean_deviation() == pytest.approx(min(w @ np.abs(x - m) for m in range(1, 41)), abs=1e-9)


def gittins_by_trial(one: LengthDistribution, age: int) -> float:
    """Every whole quantum up to the longest length, each by summing over the lengths that are still possible."""
    left = [(int(x), w) for x, w in zip(one.support, one.weight, strict=True) if x > age]
    mass = sum(w for _, w in left)
    ratios = []
    for quantum in range(1, int(one.support[-1]) - age + 1):
        finished = sum(w for x, w in left if x - age <= quantum) / mass
        work = sum(w * min(x - age, quantum) for x, w in left) / mass
        ratios.append(finished / work)
    return max(ratios)


@settings(deadline=None, max_examples=50)
@given(distributions, st.integers(0, 39))
def test_the_gittins_index_agrees_with_trying_every_quantum(one, age):
    if age < one.support[-1]:
        assert one.gittins(age) == pytest.approx(gittins_by_trial(one, age), rel=1e-9)


def test_the_gittins_index_of_a_certain_length_is_one_over_what_remains():
    assert 1 / LengthDistribution.point(30).gittins() == pytest.approx(30)
    assert 1 / LengthDistribution.point(30).gittins(age=25) == pytest.approx(5)


def test_the_gittins_index_of_a_memoryless_length_does_not_age():
    geometric = LengthDistribution.of(np.arange(1, 4000), 0.99 ** np.arange(1, 4000))
    assert geometric.gittins(100) == pytest.approx(geometric.gittins(), rel=1e-9)
    assert geometric.gittins() == pytest.approx(0.01, rel=1e-6)


def least_flow_time(jobs: tuple[LengthDistribution, ...], by_index: bool) -> float:
    """Expected sum of completion times on one machine with free preemption: of the index rule, or the least."""

    @functools.cache
    def cost(ages: tuple[int | None, ...]) -> float:
        active = [j for j, age in enumerate(ages) if age is not None]
        if not active:
            return 0.0
        tried = [max(active, key=lambda j: jobs[j].gittins(ages[j]))] if by_index else active
        return min(serve(ages, j, len(active)) for j in tried)

    def serve(ages: tuple[int | None, ...], j: int, present: int) -> float:
        rest = jobs[j].given_more_than(ages[j])
        step, ends = int(rest.support[0]), rest.weight[0]
        done, on = (*ages[:j], None, *ages[j + 1 :]), (*ages[:j], ages[j] + step, *ages[j + 1 :])
        return step * present + ends * cost(done) + (1 - ends) * (cost(on) if ends < 1 - 1e-12 else 0.0)

    return cost((0,) * len(jobs))


@settings(deadline=None, max_examples=40)
@given(st.lists(distributions.filter(lambda d: len(d) <= 4), min_size=2, max_size=3).map(tuple))
def test_the_gittins_rule_reaches_the_optimum_found_by_dynamic_programming(jobs):
    assert least_flow_time(jobs, by_index=True) == pytest.approx(least_flow_time(jobs, by_index=False), rel=1e-9)


def test_the_dynamic_programme_can_tell_rules_apart():
    """Serving by the mean is worse than the optimum here: so the test above can fail."""
    gamble, sure = LengthDistribution.of([1, 100], [0.9, 0.1]), LengthDistribution.point(8)
    sure_first = 8 + (8 + gamble.mean())
    assert least_flow_time((gamble, sure), by_index=False) < sure_first


@settings(deadline=None, max_examples=50)
@given(distributions, st.integers(0, 20), st.integers(0, 20))
def test_what_remains_follows_from_conditioning(one, first, second):
    if first + second < one.support[-1]:
        rest = one.given_more_than(first)
        kept = one.support > first
        assert rest.support.tolist() == (one.support[kept] - first).tolist()
        assert rest.weight == pytest.approx(one.weight[kept] / one.weight[kept].sum())
        both = rest.given_more_than(second)
        assert both.weight == pytest.approx(one.given_more_than(first + second).weight)


def test_a_request_older_than_its_prediction_is_taken_to_be_halfway():
    assert ONE.given_more_than(9) == LengthDistribution.point(9)
    assert ONE.given_more_than(50) == LengthDistribution.point(50)


def test_samples_follow_the_weights_and_the_seed():
    drawn = ONE.samples(np.random.default_rng(3), 20_000)
    assert np.mean(drawn == 5) == pytest.approx(0.5, abs=0.02)
    assert set(drawn.tolist()) == {2, 5, 9}
    assert drawn.tolist() == ONE.samples(np.random.default_rng(3), 20_000).tolist()
    assert ONE.sample(np.random.default_rng(3)) in (2, 5, 9)


def test_a_summary_keeps_the_mean_and_a_small_sample_stays_exact():
    sample = np.random.default_rng(0).lognormal(6, 1, 5000).astype(int) + 1
    short = LengthDistribution.summary(sample)
    assert len(short) <= 64
    assert short.mean() == pytest.approx(sample.mean(), rel=0.002)
    assert short.quantile(0.9) == pytest.approx(np.quantile(sample, 0.9), rel=0.05)
    assert LengthDistribution.summary([4, 9, 4]) == LengthDistribution.of([4, 9, 4])


def test_quantiles_make_a_distribution_even_where_they_cross():
    levels, values = (0.1, 0.5, 0.9), (100, 200, 300)
    one = LengthDistribution.from_quantiles(levels, values)
    assert one.median() == pytest.approx(200, abs=3)
    assert one.quantile(0.9) == pytest.approx(300, abs=3)
    assert one.support[0] == 100
    assert one == LengthDistribution.from_quantiles(levels, (100, 300, 200))
    assert LengthDistribution.from_quantiles(levels, (-5, 0, 0.2)) == LengthDistribution.point(1)


def test_it_survives_pickling_and_does_not_equal_other_things():
    assert pickle.loads(pickle.dumps(ONE)) == ONE
    assert LengthDistribution.point(5) != ONE
    assert ONE != "a distribution"


@pytest.mark.parametrize(
    ("lengths", "weights", "sentence"),
    [
        ([], None, "found no length, expected at least one"),
        ([3, 0], None, "found a length of 0 tokens"),
        ([3, 4], [1.0], "found 1 weights, expected one for each of 2 lengths"),
        ([3, 4], [1.0, -1.0], "negative, NaN or all zero"),
        ([3, 4], [0.0, 0.0], "negative, NaN or all zero"),
    ],
)
def test_impossible_distributions_are_refused(lengths, weights, sentence):
    with pytest.raises(InputError, match=sentence):
        LengthDistribution.of(lengths, weights)


def test_a_level_beyond_one_is_refused():
    with pytest.raises(InputError, match=r"found 1.5, expected a probability in \[0, 1\]"):
        ONE.quantile(1.5)
