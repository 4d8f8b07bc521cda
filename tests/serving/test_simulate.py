"""The skip-ahead clockwork against the step-by-step reference, on random instances and workloads."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from naive_engine import Engine, Job

from rota.serving.model import Fleet, Instance, StepCost, Transfer, Workload
from rota.serving.simulate import simulate

SLOW = settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])


@st.composite
def instances(draw):
    """Small engines under memory pressure."""
    points = draw(
        st.sampled_from([((0, 1), (0.0, 2e-4)), ((64, 512), (5e-3, 3e-2)), ((1, 64, 256), (4e-3, 5e-3, 2e-2))])
    )
    cost = StepCost(
        *points,
        decode_base=0.02,
        prefill_base=0.005,
        per_sequence=3e-4,
        per_kv_token=1.1e-6,
        quadratic=1e-8,
        per_prompt=0.01,
    )
    return Instance(
        "tiny", cost, blocks=draw(st.integers(40, 90)), max_sequences=draw(st.integers(2, 12)),
        max_batched_tokens=draw(st.sampled_from([64, 200, 2048])), prefill=draw(st.sampled_from(["whole", "chunked"])),
        watermark=draw(st.sampled_from([0.0, 0.05])), prefix_cache=draw(st.booleans()), cpu_blocks=draw(st.sampled_from([0, 30, 1000])),
        swap=Transfer(1e9, 1e-3), swap_call=1e-6, kv_bytes=1e5,
    )  # fmt: skip


@st.composite
def workloads(draw):
    """Up to 40 requests with shared prefixes, in bursts and lulls."""
    n, seed = draw(st.integers(1, 40)), draw(st.integers(0, 2**31))
    rng = np.random.default_rng(seed)
    arrival = np.cumsum(rng.gamma(0.5, draw(st.sampled_from([0.02, 0.2, 2.0])), n))
    prompt, output = rng.integers(1, 300, n), rng.integers(1, 200, n)
    chains = [tuple(range(100 * c, 100 * c + 40)) for c in range(3)]
    drawn = zip(rng.integers(0, 3, n), prompt, output, rng.integers(0, 2, n), strict=True)
    chosen = [chains[c][: (p + o) // 32 if extra else p // 32] for c, p, o, extra in drawn]
    return Workload.of(
        arrival, prompt, output, priority=rng.integers(0, 2, n), prefix_chunk=32,
        prefix_start=np.concatenate([[0], np.cumsum([len(c) for c in chosen])]), prefix_hash=np.array(sum(chosen, ()), np.int64),
    )  # fmt: skip


def jobs(w, rows):
    prefix = lambda i: tuple(w.prefix_hash[w.prefix_start[i] : w.prefix_start[i + 1]].tolist())  # noqa: E731
    return [Job(i, w.arrival[i], int(w.prompt[i]), int(w.output[i]), int(w.priority[i]), prefix(i)) for i in rows]


def expanded(gaps):
    values = [np.repeat(g["first"] + g["slope"] * np.arange(g["count"]), g["weight"]) for g in gaps]
    return np.sort(np.concatenate(values)) if values else np.zeros(0)


@SLOW
@given(kind=instances(), workload=workloads(), count=st.integers(1, 3), swaps=st.booleans(), by_priority=st.booleans())
def test_skipping_ahead_agrees_with_stepping(kind, workload, count, swaps, by_priority):
    policies = {"preempt": "swap" if swaps else "recompute", "order": "priority" if by_priority else "fcfs"}
    run = simulate(Fleet.of(kind, count), workload, policies)
    gaps = []
    for i in range(count):
        engine = Engine(kind, 32, swaps, by_priority)
        mine = jobs(workload, range(i, len(workload), count))
        engine.run(mine)
        gaps += engine.gaps
        for job in mine:
            assert run.requests["first_token"][job.id] == pytest.approx(job.first_token, abs=1e-9)
            assert run.requests["finish"][job.id] == pytest.approx(job.finish, abs=1e-9)
            assert run.requests["preemptions"][job.id] == job.preemptions
            assert run.requests["preemption_loss"][job.id] == pytest.approx(job.loss, abs=1e-9)
    np.testing.assert_allclose(expanded(run.gaps), np.sort(gaps), atol=1e-9)
