"""The BurstGPT experiment, small: the arms differ in arrivals alone, and every claim is answered."""

import numpy as np

from rota.reproduce import burstgpt
from rota.serving.workloads import by_name, stats


def test_the_memoryless_arm_has_the_same_requests():
    bursty = by_name("azure-2023-code(rate=8, n=3000)", seed=1)
    plain = burstgpt.memoryless(bursty, seed=1)
    np.testing.assert_array_equal(plain.prompt, bursty.prompt)
    np.testing.assert_array_equal(plain.output, bursty.output)
    assert plain.arrival[0] >= bursty.arrival[0]
    assert plain.duration <= bursty.duration
    assert abs(stats.variation(np.diff(plain.arrival)) - 1) < 0.1
    assert stats.variation(np.diff(bursty.arrival)) > 5


def test_turns_keep_waiting_for_their_answers():
    bursty = by_name("burstgpt(n=500)", seed=1)
    plain = burstgpt.memoryless(bursty, seed=1)
    np.testing.assert_array_equal(plain.parent, bursty.parent)
    np.testing.assert_array_equal(plain.think, bursty.think)


def test_every_claim_is_answered_without_the_traces(monkeypatch):
    monkeypatch.setattr(burstgpt, "data_folder", lambda: None)
    claims = burstgpt.run(seeds=2, quick=True)
    assert [c.id for c in claims] == [c.id for c in burstgpt.CLAIMS]
    found = {c.id: c for c in claims}
    assert found["regenerate"].verdict == "not shown here"
    assert "ROTA_DATA" in found["regenerate"].differs
    assert found["ttft-p99-code"].measured > 2
    assert found["failures-code"].baseline == {"poisson": 0.0}
