"""Fleets that serve several models, and requests that come back with their KV: nobody is stranded or mixed up."""

from dataclasses import replace

import numpy as np
import pytest

from rota.core.errors import InputError
from rota.serving.model import Fleet, Instance, StepCost, Transfer, Workload
from rota.serving.simulate import simulate

COST = StepCost((0, 1), (0.0, 2e-4), decode_base=0.02, prefill_base=0.005, per_sequence=3e-4, per_kv_token=1e-6)
KIND = Instance(
    "small",
    COST,
    blocks=60,
    max_sequences=8,
    watermark=0.0,
    migration=Transfer(1e9, 0.01),
    swap=Transfer(1e9),
    kv_bytes=1e5,
)


def kinds(*models):
    return tuple(replace(KIND, model=model) for model in models)


def requests(n=120, models=("a", "b"), seed=1, most=200):
    rng = np.random.default_rng(seed)
    lengths = rng.integers(1, most, (2, n))
    return Workload.of(
        np.cumsum(rng.exponential(0.1, n)), *lengths, models=models, model=rng.integers(0, len(models), n)
    )


class MoveAnything:
    """Move whatever runs, to wherever there is room, as fast as possible."""

    interval = 0.05
    after_prefill = False

    def pairs(self, fleet):
        return [(i, (i + 1) % len(fleet)) for i in range(len(fleet))]

    def victim(self, batch):
        movable = np.flatnonzero(batch.movable)
        return int(batch.id[movable[0]]) if len(movable) else None

    def target(self, request, source, fleet):
        return None


class Shrink:
    """One instance less, always."""

    interval = 0.5

    def change(self, fleet):
        return -1


@pytest.mark.parametrize("reschedule", ["llumnix(threshold=20)", "balanced(threshold=20)", MoveAnything])
def test_a_request_stays_with_its_model(reschedule):
    w = requests()
    run = simulate(Fleet(kinds("a", "a", "b", "b")), w, {"reschedule": reschedule})
    served = run.timeline
    assert run.metrics["migrations"] > 0
    assert ((served.resource < 2) == (w.model[served.task] == 0)).all()


@pytest.mark.parametrize("reschedule", ["none", "drain"])
def test_the_last_instance_of_a_model_is_not_drained(reschedule):
    run = simulate(Fleet(kinds("a", "a", "b", "b")), requests(), {"scale": Shrink, "reschedule": reschedule})
    run.check()
    assert run.load["instances"][-1] == 2


def test_a_model_without_an_instance_at_the_start():
    with pytest.raises(InputError, match="initial"):
        simulate(Fleet(kinds("a", "b"), initial=1), requests())


@pytest.mark.parametrize("seed", range(10))
def test_requests_that_return_with_their_kv_do_not_block_each_other(seed):
    w = requests(60, ("default",), seed, most=450)
    run = simulate(Fleet.of(replace(KIND, max_sequences=2), 3), w, {"preempt": "swap", "reschedule": MoveAnything})
    run.check()
    assert np.isfinite(run.requests["finish"]).all()


def test_a_policy_left_out_as_none_is_the_usual_one():
    w = requests(20, ("default",))
    assert simulate(Fleet.of(KIND, 2), w, {"reschedule": None}).metrics == simulate(Fleet.of(KIND, 2), w).metrics
