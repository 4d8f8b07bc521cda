"""The figures of a run against their definitions, computed the slow way."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_fleets import fleet, requests

from rota.serving.kernels.state import SEGMENT
from rota.serving.metrics import by_class, gap_quantiles, slo_attainment
from rota.serving.simulate import simulate

LEVELS = [0.01, 0.25, 0.5, 0.9, 0.99, 1.0]


def expanded(gaps):
    return np.sort(
        np.concatenate([np.repeat(g["first"] + g["slope"] * np.arange(g["count"]), g["weight"]) for g in gaps])
    )


segments = st.lists(
    st.tuples(st.integers(1, 50), st.floats(1e-3, 1), st.sampled_from([0.0, 1e-6, 1e-3]), st.integers(1, 20)),
    min_size=1,
    max_size=20,
)


@settings(deadline=None, max_examples=50)
@given(segments)
def test_gap_quantiles_are_those_of_every_gap(drawn):
    gaps = np.array([(0, 0.0, count, first, slope, weight) for count, first, slope, weight in drawn], SEGMENT)
    each = expanded(gaps)
    exact = [np.quantile(each, level, method="inverted_cdf") for level in LEVELS]
    np.testing.assert_allclose(gap_quantiles(gaps, LEVELS), exact, rtol=1e-9)


def test_no_gaps_have_no_quantiles():
    assert np.isnan(gap_quantiles(np.zeros(0, SEGMENT), [0.5])).all()


@pytest.fixture(scope="module")
def run():
    w = requests(
        60,
        rate=8,
        priority=np.arange(60) % 3 == 0,
        slo_ttft=np.where(np.arange(60) % 2, 0.5, np.nan),
        slo_tpot=np.full(60, 0.03),
    )
    return simulate(fleet(2, blocks=70), w)


def test_latencies_are_the_fields_definitions(run):
    r, more = run.requests, run.workload.output > 1
    np.testing.assert_allclose(r["ttft"], r["first_token"] - run.workload.arrival)
    np.testing.assert_allclose(r["tpot"][more], (r["e2e"] - r["ttft"])[more] / (run.workload.output[more] - 1))
    assert np.isnan(r["tpot"][~more]).all()
    for name in ("ttft", "tpot", "e2e", "queue"):
        known = r[name][np.isfinite(r[name])]
        assert run.metrics[f"{name}_mean"] == pytest.approx(known.mean())
        assert run.metrics[f"{name}_p99"] == pytest.approx(np.quantile(known, 0.99))


def test_gaps_and_decode_times_are_two_views_of_the_same_time(run):
    each = expanded(run.gaps)
    assert len(each) == (run.workload.output - 1).sum()
    assert each.sum() == pytest.approx((run.requests["finish"] - run.requests["first_token"]).sum())
    assert run.metrics["itl_mean"] == pytest.approx(each.mean())


def test_rates_and_costs(run):
    m, span = run.metrics, run.requests["finish"].max() - run.workload.arrival.min()
    assert m["throughput_rps"] == pytest.approx(60 / span)
    assert m["output_tps"] == pytest.approx(run.workload.output.sum() / span)
    paid = sum(end - start for _, start, end in run.service)
    assert m["gpu_hours"] == pytest.approx(paid / 3600)
    assert m["instances_mean"] == pytest.approx(paid / span)
    assert 0 < m["busy_share"] <= 1


def test_attainment_counts_requests_that_keep_all_their_promises(run):
    r, w = run.requests, run.workload
    kept = [not (t > a or p > b) for t, a, p, b in zip(r["ttft"], w.slo_ttft, r["tpot"], w.slo_tpot, strict=True)]
    assert 0 < np.mean(kept) < 1
    assert run.metrics["slo_attainment"] == pytest.approx(np.mean(kept))
    assert run.metrics["goodput_rps"] == pytest.approx(run.metrics["throughput_rps"] * np.mean(kept))
    bound = float(np.median(r["ttft"]))
    assert slo_attainment(run, {"ttft": bound})["slo_attainment"] == pytest.approx((r["ttft"] <= bound).mean())


def test_classes_are_told_apart(run):
    told = by_class(run, "priority")
    assert set(told) == {"0", "1"}
    urgent = run.workload.priority == 1
    assert told["1"]["ttft_mean"] == pytest.approx(run.requests["ttft"][urgent].mean())
    assert set(by_class(run, "tenant")) == {"default"}
