"""The Llumnix experiment, made small: every claim is answered, and the parts that need no simulation are right."""

import numpy as np
import pytest

from rota.reproduce import llumnix
from rota.serving.presets import preset


def test_every_stated_claim_is_answered_once(monkeypatch):
    last = {trace: rates[-1:] for trace, rates in llumnix.RATES.items()}
    monkeypatch.setattr(llumnix, "QUICK", llumnix.Size(150, last, (8.0,), (5, 35)))
    claims = llumnix.run(seeds=2, quick=True)
    assert sorted(c.id for c in claims) == sorted(stated.id for stated in llumnix.CLAIMS)
    for claim in claims:
        shown = claim.measured is not None and np.isfinite(claim.measured)
        assert shown or claim.verdict == "not shown here", "where nobody was preempted there is no ratio of losses"


def test_downtime_hardly_grows_with_the_length_while_a_copy_does():
    kind = preset("llama-7b/a10")
    short, long = llumnix.downtime(256), llumnix.downtime(8192)
    assert short <= long < 2 * short
    assert kind.migration.seconds(8192 * kind.kv_bytes) > 20 * long


@pytest.mark.parametrize(
    ("tail", "instances"), [(10.0, 10.0), (1.0, 12.0), (100.0, 8.0), (np.sqrt(10.0), 11.0), (0.1, 12.0)]
)
def test_instances_are_read_off_a_falling_curve(tail, instances):
    curve = np.array([[12.0, 1.0], [8.0, 100.0], [10.0, 10.0]])
    assert llumnix._instances_at(curve, tail) == pytest.approx(instances)
