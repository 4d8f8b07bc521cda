"""Orders by predicted length, and what queueing theory says of them on one server (simulated here, in a few lines)."""

import heapq

import numpy as np
import pytest

from rota.core.errors import InputError
from rota.core.registry import make
from rota.serving.lengths import LengthDistribution
from rota.serving.model import RequestView
from rota.serving.views import LocalOrder, QueueView

NOTHING = np.zeros(1, dtype=np.int64)
SHORT, LONG = LengthDistribution.of([2, 4]), LengthDistribution.of([10, 40])
GAMBLE, SURE = LengthDistribution.of([1, 200], [0.9, 0.1]), LengthDistribution.point(8)


def request(i, law, generated=0):
    return RequestView(i, float(i), 10, predicted=law, generated=generated)


def queue(*requests):
    zeros = np.zeros(len(requests), dtype=np.int64)
    return QueueView(0.0, 0, requests, zeros, 1000, NOTHING, NOTHING, NOTHING)


def ranks(spec, *laws, generated=0):
    return make("serving.order", spec).rank(queue(*(request(i, law, generated) for i, law in enumerate(laws)))).tolist()


def test_the_shortest_mean_or_quantile_goes_first():
    assert ranks("shortest-predicted", LONG, SHORT) == [25, 3]
    assert ranks("shortest-predicted(by='quantile', quantile=0.9)", LONG, SHORT) == [40, 4]
    assert ranks("shortest-predicted(by='quantile', quantile=0.4)", LONG, SHORT) == [10, 2]


def test_what_was_generated_is_taken_off():
    assert ranks("shortest-predicted", LONG, SURE, generated=3) == [22, 5]
    assert ranks("shortest-predicted", LONG, generated=10) == [30]
    assert ranks("gittins", SURE, generated=3) == [5]


def test_the_mean_fears_the_gamble_and_the_index_takes_it():
    by_mean, by_index = ranks("shortest-predicted", GAMBLE, SURE), ranks("gittins", GAMBLE, SURE)
    assert by_mean == pytest.approx([20.9, 8])
    assert by_index == pytest.approx([1 / 0.9, 8])


@pytest.mark.parametrize("spec", ["shortest-predicted", "gittins"])
def test_an_order_without_predictions_says_what_it_needs(spec):
    with pytest.raises(
        InputError, match=f"order {spec}: found no length predicted for request 0, expected a length pred"
    ):
        ranks(spec, None)


@pytest.mark.parametrize("spec", ["shortest-predicted", "gittins"])
def test_the_orders_keep_the_contract_of_local_orders(spec):
    order = make("serving.order", spec)
    assert isinstance(order, LocalOrder)
    assert order.rank(queue()).shape == (0,)
    assert not order.dynamic


def test_parameters_out_of_range_are_refused():
    with pytest.raises(InputError, match="found 'median', expected 'mean' or 'quantile'"):
        make("serving.order", "shortest-predicted(by='median')")
    with pytest.raises(InputError, match=r"found 1, expected a probability in \(0, 1\)"):
        make("serving.order", "shortest-predicted(by='quantile', quantile=1.0)")


def mean_wait(spec, classes, rate, seed, count=40_000):
    """Mean wait in an M/G/1 queue without interruption; `classes` are (law, share); the law is what is predicted."""
    rng = np.random.default_rng(seed)
    laws, shares = zip(*classes, strict=True)
    rank = np.zeros(len(laws)) if spec == "fcfs" else ranks(spec, *laws)
    kind = rng.choice(len(laws), p=shares, size=count)
    service = np.select([kind == k for k in range(len(laws))], [law.samples(rng, count) for law in laws])
    arrival = rng.exponential(1 / rate, count).cumsum()
    waiting, clock, entered, waited = [], 0.0, 0, 0.0
    while entered < count or waiting:
        if not waiting:
            clock = max(clock, arrival[entered])
        while entered < count and arrival[entered] <= clock:
            heapq.heappush(waiting, (rank[kind[entered]], entered))
            entered += 1
        first = heapq.heappop(waiting)[1]
        waited += clock - arrival[first]
        clock += service[first]
    return waited / count


def cobham(classes, rate):
    """Mean wait with non-preemptive priorities, most urgent class first (Cobham 1954)."""
    residual = rate * sum(share * (law.std() ** 2 + law.mean() ** 2) for law, share in classes) / 2
    wait, load = 0.0, 0.0
    for law, share in classes:
        before, load = load, load + rate * share * law.mean()
        wait += share * residual / ((1 - before) * (1 - load))
    return wait


def pollaczek_khinchine(classes, rate):
    residual = rate * sum(share * (law.std() ** 2 + law.mean() ** 2) for law, share in classes) / 2
    return residual / (1 - rate * sum(share * law.mean() for law, share in classes))


def assert_within_interval(waits, expected):
    mean, error = np.mean(waits), np.std(waits, ddof=1) / np.sqrt(len(waits))
    assert abs(mean - expected) < 3.4 * error  # 99 % of Student's t with 7 degrees of freedom is 3.5
    assert error < 0.05 * expected


CLASSES = [(SHORT, 0.7), (LONG, 0.3)]
RATE = 0.8 / (0.7 * SHORT.mean() + 0.3 * LONG.mean())


@pytest.mark.parametrize(
    ("spec", "law"), [("fcfs", pollaczek_khinchine), ("shortest-predicted", cobham), ("gittins", cobham)]
)
def test_waits_on_one_server_agree_with_closed_forms(spec, law):
    assert_within_interval([mean_wait(spec, CLASSES, RATE, seed) for seed in range(8)], law(CLASSES, RATE))


def test_without_interruption_the_mean_is_the_better_rule_where_the_two_differ():
    """The index bets on the gamble, and cannot leave it once lost. Closed forms decide, the simulation confirms."""
    mean_first, index_first = [(SURE, 0.5), (GAMBLE, 0.5)], [(GAMBLE, 0.5), (SURE, 0.5)]
    rate = 0.8 / (0.5 * SURE.mean() + 0.5 * GAMBLE.mean())
    assert cobham(mean_first, rate) < 0.9 * cobham(index_first, rate)
    for seed in range(5):
        by_mean = mean_wait("shortest-predicted", mean_first, rate, seed)
        assert by_mean < mean_wait("gittins", mean_first, rate, seed)
