"""`rota reproduce fastswitch`: its cells, its arithmetic, and a run small enough for a test."""

from dataclasses import replace

import numpy as np
import pytest

from rota.core.study import run_study
from rota.reproduce import fastswitch
from rota.reproduce.fastswitch import A10, BAND, CLAIMS, LADDER, TRACES, cells, execute, instance, judged


def test_every_claim_has_its_own_name():
    assert len({claim.id for claim in CLAIMS}) == len(CLAIMS)


def test_the_whole_grid_holds_the_ladder_at_every_frequency():
    found = {
        (c.labels["swap"], c.labels["trace"], c.labels["frequency"])
        for c in cells(1, quick=False)
        if c.labels["setting"] == A10.name
    }
    assert {(swap, trace, f"{f:g}") for swap in LADDER for trace in TRACES for f in A10.frequencies} <= found


def test_presets_have_the_link_and_memory_of_the_paper():
    kind = instance(A10.preset)
    assert kind.swap.bandwidth == 32e9
    assert kind.cpu_blocks * 16 * kind.kv_bytes == pytest.approx(60e9, rel=1e-4)
    issue = 2 * kind.layers * kind.swap_call
    assert issue > 4 * 16 * kind.kv_bytes / kind.swap.bandwidth


def test_a_cell_is_deterministic():
    spec = cells(1, quick=True)[0].spec | {"conversations": 20}
    assert execute(spec) == execute(spec)


@pytest.fixture(scope="module")
def claims():
    """The claims on a tenth of the conversations and a quarter of the KV memory."""
    small = cells(1, quick=True)
    for cell in small:
        cell.spec.update(conversations=70, load=10.0)
    little = replace(instance(A10.preset), blocks=700)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fastswitch, "instance", lambda name: little)
        study = run_study("fastswitch", small, "rota.reproduce.fastswitch:execute", jobs=1, progress=False)
    return {c.id: c for c in judged(study)}


def test_every_claim_is_answered(claims):
    assert list(claims) == [claim.id for claim in CLAIMS]
    assert claims["throughput-qwen-32b"].verdict == "not shown here"
    assert claims["throughput-qwen-32b"].differs == "not run with --quick"


def test_gains_point_the_way_the_paper_says(claims):
    assert claims["ttft-p95-llama-8b-random"].measured > 1.2
    assert claims["throughput-llama-8b"].measured > 1.02
    assert claims["groups"].measured > 1.1
    assert claims["reuse-bytes"].measured > 2
    assert claims["stall"].measured > 10 * claims["stall"].baseline["FastSwitch"]


def test_verdicts_follow_the_band():
    outcome = fastswitch._judged("groups", fastswitch.Interval(2.0, 1.5, 3.0, 5), BAND, A10)
    assert (outcome.verdict, outcome.interval) == ("holds", (1.5, 3.0))
    assert fastswitch._judged("groups", fastswitch.Interval(1.2, 1.1, 1.3, 5), BAND, A10).verdict == "does not hold"
    assert np.isclose(fastswitch._exp(fastswitch.Interval(np.log(2), 0.0, 1.0, 3)).value, 2)
