"""Generators: published laws, statistics within bounds, equal seeds equal requests."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rota.core.errors import InputError
from rota.serving.model import ROW_COLUMNS
from rota.serving.workloads import by_name, names, stats
from rota.serving.workloads.arrivals import renewal
from rota.serving.workloads.burstgpt import burstgpt, burstgpt_trace, response, weekly
from rota.serving.workloads.llumnix import TRACES, llumnix
from rota.serving.workloads.merge import merge
from rota.serving.workloads.select import select
from rota.serving.workloads.sessions import sessions
from rota.serving.workloads.tenants import tenants


@pytest.mark.parametrize("name", names())
def test_every_workload_is_reproducible_and_valid(name):
    spec = f"{name}(n=400)"
    one, same, other = by_name(spec, 1), by_name(spec, 1), by_name(spec, 2)
    for column in ROW_COLUMNS:
        np.testing.assert_array_equal(getattr(one, column), getattr(same, column))
    np.testing.assert_array_equal(one.prefix_hash, same.prefix_hash)
    assert name == "fixed" or len(one) != len(other) or (one.arrival != other.arrival).any()
    assert (one.parent < np.arange(len(one))).all()


def artifact_lengths(rng, mean, alpha, n):
    """The length rule of the Llumnix artifact, spelled out rank by rank."""
    weights = [r**-alpha for r in range(1, 2 * mean)]
    drawn = rng.choice(np.arange(1, 2 * mean), n, p=np.array(weights) / sum(weights))
    scale = mean / (sum(drawn) / n)
    return np.array([min(int(np.ceil(d * scale)), 6144) for d in drawn])


@pytest.mark.parametrize(("trace", "mean", "alpha"), [("S-S", 128, 2.0), ("M-M", 256, 1.5), ("L-L", 512, 1.15)])
def test_llumnix_lengths_follow_the_artifact(trace, mean, alpha):
    w = llumnix(trace, rate=3.0, n=10_000, seed=3)
    assert w.prompt.mean() == pytest.approx(mean, rel=0.03)
    assert w.output.mean() == pytest.approx(mean, rel=0.03)
    reference = artifact_lengths(np.random.default_rng(0), mean, alpha, 10_000)
    np.testing.assert_allclose(
        np.quantile(w.prompt, [0.5, 0.8, 0.95]), np.quantile(reference, [0.5, 0.8, 0.95]), rtol=0.15
    )
    assert w.rate == pytest.approx(3.0, rel=0.04)
    assert abs(stats.rank_correlation(w.prompt, w.output)) < 0.03


@pytest.mark.parametrize("cv", [1.0, 4.0])
def test_the_published_draw_is_that_of_the_artifacts_client(cv):
    """Seed 0xCADE, then prompts, outputs and gaps from one legacy stream: the order in which the client asks for them."""
    legacy = np.random.RandomState(0xCADE)
    prompt, output = (artifact_lengths(legacy, mean, alpha, 500) for mean, alpha in ((512, 1.15), (128, 2.0)))
    gaps = [legacy.exponential(1 / 8.0) if cv == 1 else legacy.gamma(1 / cv**2, cv**2 / 8.0) for _ in range(499)]
    one, other = (llumnix("L-S", rate=8.0, n=500, cv=cv, published=True, seed=seed) for seed in (0, 1))
    np.testing.assert_array_equal(one.prompt, prompt)
    np.testing.assert_array_equal(one.output, output)
    np.testing.assert_array_equal(one.prompt, other.prompt)
    delays = np.diff(one.arrival) - gaps
    assert one.arrival[0] == 0
    assert delays.min() > 0.0004
    assert delays.max() < 0.0016
    assert not np.array_equal(one.arrival, other.arrival)
    with pytest.raises(InputError, match="generated trace"):
        llumnix("ShareGPT-stand-in", published=True)


@pytest.mark.parametrize("trace", ["ShareGPT-stand-in", "BurstGPT-stand-in"])
def test_stand_ins_keep_their_quantiles(trace):
    w = llumnix(trace, n=20_000)
    for law, drawn in zip(TRACES[trace], (w.prompt, w.output), strict=True):
        np.testing.assert_allclose(np.quantile(drawn, law.levels[1:-1]), law.tokens[1:-1], rtol=0.08)


@settings(deadline=None, max_examples=20)
@given(st.floats(0.1, 50), st.floats(0, 4), st.integers(0, 1000))
def test_renewal_has_the_rate_and_variation_asked_for(rate, cv, seed):
    gaps = np.diff(renewal(np.random.default_rng(seed), rate, 20_000, cv))
    assert gaps.mean() == pytest.approx(1 / rate, rel=max(0.06 * cv, 1e-9))
    assert gaps.std() / gaps.mean() == pytest.approx(cv, abs=0.15 * cv + 1e-6)


def test_high_priority_share():
    assert llumnix(high_priority=0.1).priority.mean() == pytest.approx(0.1, abs=0.01)


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 40), st.floats(1, 8), st.integers(0, 300), st.sampled_from([16, 64, 512]), st.integers(0, 99))
def test_a_turn_sends_all_that_was_said(n, turns, system, chunk, seed):
    w = sessions(n, turns, system=system, prefix_chunk=chunk, max_context=4096, seed=seed)
    assert (w.prompt + w.output <= 4096).all()
    for i in range(len(w)):
        chain = w.prefix_hash[w.prefix_start[i] : w.prefix_start[i + 1]]
        assert len(chain) == (w.prompt[i] + w.output[i]) // chunk
        assert len(set(chain.tolist())) == len(chain)
        p = w.parent[i]
        if p < 0:
            assert w.turn[i] == 0
            continue
        assert (w.session[p], w.turn[p]) == (w.session[i], w.turn[i] - 1)
        assert w.prompt[i] > w.prompt[p] + w.output[p]
        before = w.prefix_hash[w.prefix_start[p] : w.prefix_start[p + 1]]
        np.testing.assert_array_equal(chain[: len(before)], before)
    distinct = {s: w.prefix_hash[w.prefix_start[i] : w.prefix_start[i + 1]] for i, s in enumerate(w.session.tolist())}
    own = [set(chain[system // chunk :].tolist()) for chain in distinct.values()]
    assert sum(map(len, own)) == len(set().union(*own))


def test_sessions_have_the_turns_asked_for():
    w = sessions(n=4000, turns=3.5, max_context=10**6)
    assert len(w) / 4000 == pytest.approx(3.5, rel=0.05)
    assert w.think[w.parent >= 0].mean() == pytest.approx(30, rel=0.05)


def test_burstgpt_mix_failures_and_week():
    found = burstgpt_trace(20_000, 2.0, turns=1.0, failures=0.05, seed=1)
    assert found.fail_share == pytest.approx(0.05, abs=0.006)
    assert found.left_out["failed"] + len(found.workload) == 20_000
    share = np.bincount(found.workload.tenant) / len(found.workload)
    by_name_ = dict(zip(found.workload.tenants, share, strict=True))
    assert by_name_["ChatGPT, Conversation log"] == pytest.approx(0.45, abs=0.06)
    assert weekly(3.0).mean() == pytest.approx(3.0)
    assert weekly(1.0, hour=15)[0] > 3 * weekly(1.0, hour=3)[0]
    assert weekly(1.0, hour=15, weekday=5)[0] == pytest.approx(weekly(1.0, hour=15)[0] / 2)


def test_burstgpt_is_burstier_the_more_it_is_asked_to():
    def cv(burstiness):
        w = burstgpt(8000, 1.0, turns=1.0, burstiness=burstiness)
        return stats.variation(np.diff(stats.arrivals(w)))

    assert 1.0 < cv(1.0) < cv(4.0)


def test_burstgpt_responses_depend_on_requests():
    rng = np.random.default_rng(0)
    short, middle, long = (response(rng, "ChatGPT", np.full(5000, n)).mean() for n in (20, 200, 2000))
    assert (short, middle, long) == pytest.approx((260, 150, 450), rel=0.05)


def test_tenants_are_unequal_and_keep_the_rate():
    w = tenants(20_000, clients=10, rate=8.0, skew=1.5)
    share = np.bincount(w.tenant) / len(w)
    assert share[0] == pytest.approx(1 / sum(k**-1.5 for k in range(1, 11)), rel=0.15)
    assert len(w) == 20_000
    assert w.rate == pytest.approx(8.0, rel=0.15)


def test_merge_keeps_sessions_and_prefixes_apart():
    a, b = sessions(30, 3.0, seed=1), sessions(20, 3.0, seed=2)
    w = merge([a, b])
    assert len(w) == len(a) + len(b)
    assert (np.diff(w.arrival) >= 0).all()
    assert len(np.unique(w.session)) == 50
    assert len(np.unique(w.prefix_hash)) == len(np.unique(a.prefix_hash)) + len(np.unique(b.prefix_hash))
    child = np.flatnonzero(w.parent >= 0)
    np.testing.assert_array_equal(w.session[child], w.session[w.parent[child]])
    np.testing.assert_array_equal(w.turn[child], w.turn[w.parent[child]] + 1)


def test_a_part_of_a_workload():
    w = select(llumnix(rate=2.0, n=2000), start=100, end=300, rate=5.0)
    assert w.rate == pytest.approx(5.0)
    assert len(w) == pytest.approx(400, rel=0.2)
    turns = select(sessions(50, 4.0), end=20.0)
    assert (turns.parent[turns.turn > 0] >= 0).all()
