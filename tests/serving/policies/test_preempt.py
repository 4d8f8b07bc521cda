"""Preemption policies: the victim they name is the one that the engine takes."""

import numpy as np
import pytest
from small_fleets import batch, fleet, requests

from rota.core.registry import make
from rota.serving.simulate import simulate
from rota.serving.verify_tokens import DECODE, PREEMPTED, PREFILL, SWAPPED


@pytest.mark.parametrize("spec", ["recompute", "swap"])
def test_the_last_admitted_of_the_lowest_priority_goes(spec):
    policy = make("serving.preempt", spec)
    assert policy.mechanism == spec
    assert policy.victim(batch([5, 1, 9])) == 2
    assert policy.victim(batch([5, 1, 9], priority=[0, 0, 1])) == 1
    assert policy.victim(batch([5], priority=[1])) == 0


@pytest.mark.parametrize(("spec", "kind"), [("recompute", PREEMPTED), ("swap", SWAPPED)])
@pytest.mark.parametrize("prefill", ["whole", "chunked"])
def test_the_engine_preempts_whom_the_policy_names(spec, kind, prefill):
    """At each first preemption of an instant, ask the policy about the batch as the rows tell it."""
    w = requests(40, rate=12, priority=np.arange(40) % 3 == 0)
    run = simulate(fleet(1, blocks=60, prefill=prefill), w, {"preempt": spec})
    rows, policy, asked = run.rows, make("serving.preempt", spec), 0
    for at in np.unique(rows["start"][rows["kind"] == kind]):
        if at in rows["end"][rows["kind"] == SWAPPED]:
            continue  # somebody came back, and was sent away at once: the rows do not show him in the batch
        ids = batch_before(run, at)
        named = ids[policy.victim(batch([1] * len(ids), priority=w.priority[ids].tolist(), ids=ids))]
        assert named in rows["request"][np.isin(rows["kind"], (PREEMPTED, SWAPPED)) & (rows["start"] == at)]
        asked += 1
    assert asked > 2


def batch_before(run, at):
    """Who runs until `at` and has not finished, in order of admission (or return from the CPU)."""
    rows = run.rows
    inside = rows[np.isin(rows["kind"], (PREFILL, DECODE)) & (rows["start"] < at) & (rows["end"] >= at)]
    there = inside["request"][run.requests["finish"][inside["request"]] > at].tolist()
    entered = {r: max(entries(rows[rows["request"] == r], at)) for r in there}
    return sorted(entered, key=lambda r: entered[r])


def entries(rows, at):
    began = rows["start"][(rows["kind"] == PREFILL) & (rows["start"] < at)]
    return [
        *zip(began, rows["request"][: len(began)], strict=True),
        *((t, -1) for t in rows["end"][(rows["kind"] == SWAPPED) & (rows["end"] < at)]),
    ]
