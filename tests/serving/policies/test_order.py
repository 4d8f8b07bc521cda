"""Local orders: whom an instance admits next; the fairness bound of VTC as a property of whole runs."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_fleets import engine

from rota.core.errors import InputError
from rota.core.registry import make
from rota.serving.model import Fleet, RequestView, Workload
from rota.serving.simulate import simulate
from rota.serving.verify import fairness_violations
from rota.serving.views import QueueView


def queue(*requests, cached=None, service_in=(0, 0), service_out=(0, 0), running=(0, 0)):
    """A queue of (arrival, prompt, tenant[, priority]) requests."""
    views = [RequestView(k, a, p, tenant=t, priority=(rest or [0])[0]) for k, (a, p, t, *rest) in enumerate(requests)]
    hits = np.zeros(len(views), np.int64) if cached is None else np.array(cached)
    return QueueView(10.0, 0, views, hits, 50, np.array(service_in), np.array(service_out), np.array(running))


def order_of(policy, seen):
    return np.argsort(policy.rank(seen), kind="stable").tolist()


def test_first_come_is_first_and_urgent_ones_go_ahead():
    seen = queue((2.0, 10, 0), (1.0, 10, 0), (3.0, 10, 0, 1))
    assert order_of(make("serving.order", "fcfs"), seen) == [1, 0, 2]
    assert order_of(make("serving.order", "priority"), seen) == [2, 1, 0]


def test_vtc_takes_the_tenant_with_the_least_service_and_counts_what_it_admits():
    seen = queue((1.0, 100, 0), (2.0, 100, 0), (3.0, 60, 1), (4.0, 60, 1), service_in=(100, 0), service_out=(0, 25))
    assert order_of(make("serving.order", "vtc"), seen) == [2, 0, 3, 1], "50 < 100, 100 < 110, 110 < 200"
    assert order_of(make("serving.order", "vtc(output_weight=9.0)"), seen) == [0, 1, 2, 3], "100 < 225, 200 < 225"


def test_vtc_charges_only_what_the_cache_does_not_hold():
    seen = queue((1.0, 100, 0), (2.0, 100, 0), (3.0, 60, 1), cached=[96, 0, 0], service_in=(0, 50))
    assert order_of(make("serving.order", "vtc"), seen) == [0, 1, 2]


def test_vtc_lifts_a_tenant_who_comes_back_to_those_who_queue():
    vtc = make("serving.order", "vtc")
    assert order_of(vtc, queue((1.0, 10, 0), (2.0, 10, 0), service_in=(900, 0))) == [0, 1]
    back = queue((1.0, 10, 0), (2.0, 10, 0), (5.0, 10, 1), (6.0, 10, 1), service_in=(1000, 0))
    assert order_of(vtc, back) == [0, 2, 1, 3], "equal counters: in turn, no credit for the time away"


def test_vtc_lifts_to_whoever_queued_last_where_nobody_does():
    vtc = make("serving.order", "vtc")
    vtc.rank(queue((1.0, 10, 0), service_in=(900, 0)))
    vtc.rank(queue((2.0, 10, 1), service_in=(910, 0)))
    both = queue((3.0, 10, 0), (4.0, 10, 0), (2.5, 10, 1), (2.6, 10, 1), service_in=(910, 0))
    assert order_of(vtc, both) == [2, 0, 3, 1]


def test_vtc_keeps_a_count_for_each_instance():
    vtc = make("serving.order", "vtc")
    vtc.rank(queue((1.0, 10, 0), service_in=(900, 0)))
    elsewhere = replace(queue((1.0, 10, 0), (2.0, 10, 1), service_in=(900, 0)), instance=3)
    assert order_of(vtc, elsewhere) == [1, 0]


@pytest.mark.parametrize("spec", ["vtc(input_weight=-1.0)", "dlpm(quantum=0.0)"])
def test_weights_out_of_range_are_refused(spec):
    with pytest.raises(InputError, match="expected"):
        make("serving.order", spec)


def test_dlpm_goes_by_prefix_until_the_deficit_is_used_up():
    seen = queue((1.0, 100, 0), (2.0, 100, 0), (3.0, 100, 1), cached=[90, 80, 0])
    assert order_of(make("serving.order", "dlpm(quantum=1000.0)"), seen) == [0, 1, 2]
    assert order_of(make("serving.order", "dlpm(quantum=5.0)"), seen) == [0, 2, 1]


def test_dlpm_remembers_what_it_has_granted():
    dlpm = make("serving.order", "dlpm(quantum=100.0)")
    assert order_of(dlpm, queue((1.0, 50, 0), (2.0, 50, 1), cached=[40, 0])) == [0, 1]
    spent = queue((1.0, 50, 0), (2.0, 50, 1), cached=[40, 0], service_in=(150, 20))
    assert order_of(dlpm, spent) == [1, 0]


MOST = 64
"""Longest prompt, and longest output, of the fairness workloads."""


@st.composite
def contests(draw):
    """One tenant floods, the other comes at a draw of rates; room for every admitted request to run to its end."""
    rng = np.random.default_rng(draw(st.integers(0, 2**31)))
    sequences = draw(st.integers(2, 8))
    kind = engine(
        blocks=sequences * MOST // 8, max_sequences=sequences, watermark=0.0, prefill=draw(st.sampled_from(["whole", "chunked"])),
        max_batched_tokens=draw(st.sampled_from([40, 512])),
    )  # fmt: skip
    n = 160
    gaps = np.stack(
        [
            rng.exponential(draw(st.sampled_from([0.001, 0.02])), n),
            rng.exponential(draw(st.sampled_from([0.01, 0.1, 0.4])), n),
        ]
    )
    arrival, tenant = np.cumsum(gaps, axis=1).ravel(), np.repeat([0, 1], n)
    order = np.argsort(arrival)
    heavy = draw(st.booleans())
    prompt, output = rng.integers(1, MOST + 1, 2 * n), rng.integers(1, MOST + 1 if heavy else 8, 2 * n)
    return Fleet.of(kind, 1), Workload.of(
        arrival[order], prompt, output, tenant=tenant[order], tenants=("flood", "other")
    )


@settings(deadline=None, max_examples=15)
@given(contest=contests(), weights=st.sampled_from([(1.0, 2.0), (1.0, 1.0), (0.5, 4.0)]))
def test_vtc_keeps_its_proven_bound(contest, weights):
    run = simulate(*contest, {"order": f"vtc(input_weight={weights[0]}, output_weight={weights[1]})"})
    assert run.metrics["preemptions"] == 0
    assert fairness_violations(run, *weights) == []


@pytest.mark.parametrize("prefill", ["whole", "chunked"])
@pytest.mark.parametrize("seed", range(5))
def test_first_come_first_served_breaks_the_bound_where_one_tenant_floods(prefill, seed):
    rng = np.random.default_rng(seed)
    n = 300
    tenant = np.repeat([0, 1], [n, n // 2])
    arrival = np.concatenate([np.sort(rng.random(n)), 1 + np.sort(rng.random(n // 2))])
    w = Workload.of(
        arrival,
        rng.integers(1, MOST, len(tenant)),
        rng.integers(1, MOST, len(tenant)),
        tenant=tenant,
        tenants=("flood", "other"),
    )
    fleet = Fleet.of(engine(blocks=32, max_sequences=4, watermark=0.0, prefill=prefill), 1)
    assert fairness_violations(simulate(fleet, w, {"order": "fcfs"}))
    assert not fairness_violations(simulate(fleet, w, {"order": "vtc"}))


def test_dlpm_hits_the_cache_more_often_than_vtc_and_first_come():
    """Two tenants with two prefixes each, in a cache that holds two of the four: order decides what is reused."""
    rng = np.random.default_rng(0)
    n = 200
    which = rng.integers(0, 4, n)
    w = Workload.of(
        np.sort(rng.random(n)), np.full(n, 300), np.full(n, 8), tenant=which % 2, tenants=("a", "b"), prefix_chunk=256,
        prefix_start=np.arange(n + 1), prefix_hash=which,
    )  # fmt: skip
    fleet = Fleet.of(engine(blocks=60, max_sequences=1, prefix_cache=True), 1)
    hits = {
        spec: simulate(fleet, w, {"order": spec}).metrics["prefix_hit_rate"]
        for spec in ("fcfs", "vtc", "dlpm(quantum=3000.0)")
    }
    assert hits["dlpm(quantum=3000.0)"] > 1.2 * max(hits["fcfs"], hits["vtc"])
