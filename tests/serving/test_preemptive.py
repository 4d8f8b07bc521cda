"""The preemptive engine against its naive reference, and what FastSwitch's parts must do whatever the workload."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from naive_preemptive import NaiveEngine

from rota.core.errors import InputError, UnknownName
from rota.core.registry import make, names
from rota.serving.horizon import steps_until
from rota.serving.model import Instance, StepCost, Transfer, Workload
from rota.serving.preemptive import simulate_preemptive
from rota.serving.priorities import iterations_between, trace
from rota.serving.verify_swap import verify_swap
from rota.serving.workloads.sessions import sessions

COST = StepCost(
    (0, 64, 512), (0.02, 0.02, 0.09), prefill_base=0.001, per_sequence=1e-4, per_kv_token=3.1e-7, quadratic=2e-9
)
SMALL = Instance(
    "small", COST, blocks=60, kv_bytes=131072.0, layers=4, max_sequences=8, max_batched_tokens=300, prefill="whole",
    watermark=0.02, swap=Transfer(3e9), swap_call=3e-5, cpu_blocks=200,
)  # fmt: skip
SWAPS = [
    "recompute",
    "per-block",
    "per-block(coalesce=True)",
    "block-groups(group=7)",
    "asynchronous(group=7)",
    "reuse(group=7)",
]
EXACT = [*SWAPS, "asynchronous(streams=2)", "reuse(streams=2, threads=3, group=3)"]


def conversations(seed, n=10, rate=2.0, think=0.7):
    return sessions(n, turns=2.5, rate=rate, think=think, user=40, output=60, max_context=700, seed=seed)


@settings(deadline=None, max_examples=40)
@given(
    seed=st.integers(0, 10_000), swap=st.sampled_from(EXACT), priorities=st.sampled_from(["random", "markov"]),
    frequency=st.sampled_from([0.01, 0.04, 0.2, 1.0]), blocks=st.integers(44, 120), cpu=st.sampled_from([30, 90, 400]),
    ready_share=st.sampled_from([0.0, 0.25, 0.9]),
)  # fmt: skip
def test_skipping_ahead_changes_nothing(seed, swap, priorities, frequency, blocks, cpu, ready_share):
    instance, workload = replace(SMALL, blocks=blocks, cpu_blocks=cpu), conversations(seed)
    policy = make("serving.swap", swap)
    policy.mechanism = replace(policy.mechanism, ready_share=ready_share)
    run = simulate_preemptive(instance, workload, policy, priorities, frequency, seed, audit=True)
    rows = trace(priorities, int(np.sum(workload.parent < 0)), seed)
    naive = NaiveEngine(instance, workload, policy.mechanism, rows, iterations_between(frequency)).run()

    np.testing.assert_allclose(run.requests["first_token"], [r.first_token for r in naive.requests], rtol=0, atol=1e-9)
    np.testing.assert_allclose(run.requests["finish"], [r.finish for r in naive.requests], rtol=0, atol=1e-9)
    gaps = np.repeat(run.gaps[:, 0], run.gaps[:, 1].astype(int))
    np.testing.assert_allclose(np.sort(gaps), np.sort(naive.gaps), rtol=0, atol=1e-9)
    assert run.metrics["stall_seconds"] == pytest.approx(naive.stall, abs=1e-9)
    assert (run.metrics["bytes_out"], run.metrics["bytes_in"]) == (naive.bytes_out, naive.bytes_in)
    verify_swap(run.audit, blocks, cpu, 16 * instance.kv_bytes / instance.swap.bandwidth)


@given(
    wait=st.floats(0, 50),
    first=st.floats(0.001, 1),
    slope=st.sampled_from([0.0, 1e-6, 1e-3, 0.1]),
    most=st.integers(1, 300),
)
@settings(deadline=None, max_examples=50)
def test_steps_until_counts_like_a_loop(wait, first, slope, most):
    steps = 1
    while steps < most and steps * first + slope * (steps * (steps - 1) / 2) < wait:
        steps += 1
    assert steps_until(wait, first, slope, most) == steps


def test_same_seed_same_run():
    first, second = (simulate_preemptive(SMALL, conversations(3), "reuse", "random", 0.1, 5) for _ in range(2))
    assert first.timeline == second.timeline
    assert first.metrics == second.metrics


def test_everything_is_served_and_recorded():
    workload = conversations(1, n=30)
    run = simulate_preemptive(SMALL, workload, "reuse", "random", 0.1)
    assert np.isfinite(run.requests["finish"]).all()
    assert run.gaps[:, 1].sum() == workload.output.sum() - len(workload)
    assert set(run.timeline.kind_names) == {"queue", "prefill", "decode", "swap-out", "swap-in", "stall"}
    assert run.timeline.span[1] == pytest.approx(np.nanmax(run.requests["finish"]))


def test_each_part_saves_what_it_is_for():
    workload = conversations(2, n=60, rate=4.0)
    run = {swap: simulate_preemptive(SMALL, workload, swap, "random", 0.2).metrics for swap in SWAPS}
    groups, asynchronous, reuse = (run[s] for s in SWAPS[3:])
    moved = run["per-block"]["bytes_out"] + run["per-block"]["bytes_in"]
    assert run["per-block"]["calls"] == pytest.approx(2 * SMALL.layers * moved / (16 * SMALL.kv_bytes))
    assert groups["calls"] / groups["bytes_in"] < 0.6 * run["per-block"]["calls"] / run["per-block"]["bytes_in"]
    assert asynchronous["stall_seconds"] < 0.5 * groups["stall_seconds"]
    assert reuse["bytes_out"] / reuse["bytes_in"] < 0.7 * asynchronous["bytes_out"] / asynchronous["bytes_in"]
    assert run["recompute"]["prefill_tokens"] > 1.5 * run["per-block"]["prefill_tokens"]


def test_without_pressure_priorities_change_nothing():
    roomy = replace(SMALL, blocks=5000, max_sequences=100)
    runs = [simulate_preemptive(roomy, conversations(4), "reuse", name, 0.1).metrics for name in ("random", "markov")]
    assert runs[0] == runs[1]
    assert runs[0]["preemptions"] == 0


def test_a_markov_trace_changes_less():
    rows = {name: trace(name, 200, 1) for name in ("random", "markov")}
    moved = {name: np.mean(next(t) != next(t)) for name, t in rows.items()}
    assert moved["random"] == 1.0
    assert moved["markov"] == pytest.approx(0.1, abs=0.06)


def test_swap_mechanisms_are_registered():
    assert {"per-block", "block-groups", "asynchronous", "reuse", "recompute"} <= set(names("serving.swap"))


def test_what_cannot_be_served_is_said():
    with pytest.raises(InputError, match="request 0: found 2000 tokens, expected at most 960"):
        simulate_preemptive(SMALL, Workload.of([0.0], [1000], [1000]))
    with pytest.raises(InputError, match="row 2: found 0, as in row 1"):
        simulate_preemptive(SMALL, Workload.of([0, 0, 0], [9, 99, 99], [9, 9, 9], parent=[-1, 0, 0]))
    with pytest.raises(InputError, match="row 1: found 10, expected at least the 18 tokens"):
        simulate_preemptive(SMALL, Workload.of([0, 0], [9, 10], [9, 9], parent=[-1, 0]))
    with pytest.raises(UnknownName, match="did you mean markov"):
        simulate_preemptive(SMALL, conversations(1), priorities="markow")
    with pytest.raises(InputError, match="found no request"):
        simulate_preemptive(SMALL, Workload.of([], [], []))
    with pytest.raises(InputError, match="streams: found 3, expected 1 or 2"):
        simulate_preemptive(SMALL, conversations(1), "reuse(streams=3)")
    with pytest.raises(InputError, match="frequency"):
        simulate_preemptive(SMALL, conversations(1), frequency=0.0)
