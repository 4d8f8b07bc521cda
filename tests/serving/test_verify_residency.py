from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from rota.core.errors import RuleViolation
from rota.serving.residency import offline_batch, simulate_residency
from rota.serving.residency.simulate import ResidencyRun
from rota.serving.verify_residency import verify


@pytest.fixture(scope="module")
def run() -> ResidencyRun:
    """A generation that stores, loads, drops and recomputes."""
    return simulate_residency(offline_batch("llama-33b/h100-80gb", 64), "sparse-window(kv_bits=16)")


def changed(run: ResidencyRun, step: int, **by: int) -> ResidencyRun:
    """The run with columns of its placement moved by so many tokens in one step."""
    columns = {name: getattr(run.placement, name).copy() for name in by}
    for name, delta in by.items():
        columns[name][step] += delta
    return replace(run, placement=replace(run.placement, **columns))


def test_an_honest_run_passes(run):
    assert run.metrics["recomputed_tokens"] > 0
    assert verify(run) == []


@pytest.mark.parametrize(
    ("by", "sentence"),
    [
        ({"loaded": -64}, "attention to tokens of the host that were not loaded"),
        ({"recomputed": -64}, "attention to dropped tokens that were not recomputed"),
        ({"recomputed": 10**9}, "recomputation of tokens that were not dropped"),
        ({"attended_gpu": -64}, "sparse attention to other than twice its window"),
        ({"attended_gpu": 10**6}, "attention to tokens of the GPU that are not there"),
        ({"gpu": 64}, "tokens appear or vanish"),
        ({"gpu": 64, "cpu": -64}, "tokens leave the host unaccounted for"),
        ({"stored": 64}, "unaccounted for"),
        ({"cpu": -6400, "dropped": 6400}, "dropped tokens came back"),
        ({"kept": 10**6}, "more tokens stay on the GPU than were loaded"),
        ({"decoding": 1}, "more sequences decode than there are"),
        ({"decoding": -1}, "tokens were to be decoded"),
        ({"prefill": 5}, "prompt tokens were to be prefilled"),
        ({"stored": -(10**9)}, "a count of tokens is negative"),
        ({"freed": 10**9}, "more tokens are freed than there are"),
        ({"loaded": 6400}, "loads take less time than the link allows"),
    ],
)
def test_each_broken_rule_is_named(run, by, sentence):
    broken = verify(changed(run, 300, **by))
    assert any(sentence in found for found in broken), broken


def test_memory_over_capacity(run):
    device = run.problem.device
    tight = replace(run, problem=replace(run.problem, device=replace(device, memory=device.memory - 1e9)))
    assert any("GPU memory over capacity" in found for found in verify(tight))
    small_host = replace(run, problem=replace(run.problem, device=replace(device, host_memory=1e9)))
    assert any("host memory over capacity" in found for found in verify(small_host))


def test_dense_attention_leaves_nothing_out():
    dense = simulate_residency(offline_batch("opt-6.7b/h100-80gb", 4, 16, 8), "dense")
    assert verify(changed(dense, 3, attended_gpu=-1)) == ["dense attention leaves tokens out, first in step 0"]


def test_a_resource_does_one_thing_at_a_time(run):
    line = run.timeline
    start = line.start.copy()
    start[200] -= 1.0
    broken = verify(replace(run, timeline=replace(line, start=np.maximum(start, 0))))
    assert any("does two things at once" in found for found in broken)


def test_check_raises(run):
    with pytest.raises(RuleViolation, match="not loaded, first in step 300"):
        changed(run, 300, loaded=-64).check()
