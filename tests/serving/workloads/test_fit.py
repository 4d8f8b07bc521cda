"""Fitting: the parameters of a generator come back, and regenerated traces are near the originals."""

import numpy as np
import pytest

from rota.core.data import data_folder
from rota.core.errors import InputError
from rota.serving.model import Workload
from rota.serving.workloads import by_name, read, stats
from rota.serving.workloads.fit import fit
from rota.serving.workloads.fitted import load, shipped
from rota.serving.workloads.goodness import goodness
from rota.serving.workloads.processes import Batches, GapChain, PiecewiseGamma, Profile
from rota.serving.workloads.reuse import measure
from rota.serving.workloads.sessions import sessions


@pytest.mark.parametrize("cv", [0.5, 1.0, 3.0])
def test_gamma_shape_and_rate_come_back(cv):
    trace = by_name(f"gamma(rate=4, n=20000, cv={cv})", seed=2)
    process = fit(trace, arrivals="gamma").arrivals
    assert isinstance(process, PiecewiseGamma)
    assert process.profile.mean == pytest.approx(4, rel=0.02 + 0.03 * cv)
    assert process.shape[0] == pytest.approx(1 / cv**2, rel=0.15)


def test_a_rate_that_changes_comes_back():
    rng = np.random.default_rng(0)
    times = np.sort(np.concatenate([rng.uniform(0, 300, 300), rng.uniform(300, 600, 3000)]))
    w = Workload.of(times, np.full(3300, 10), np.full(3300, 10))
    made = fit(w, arrivals="gamma", window=300.0).generate(seed=1)
    first = (made.arrival < 300).sum()
    assert first == pytest.approx(300, rel=0.25)


def test_clock_and_operational_time_are_inverse():
    profile = Profile(10.0, (1.0, 0.0, 3.0))
    seconds = np.array([0.5, 9.0, 20.5, 29.0, 31.0, 55.0])
    np.testing.assert_allclose(profile.clock(profile.operational(seconds)), seconds)
    assert profile.clock(np.array([10.0, 10.1]))[1] > 20.0


def test_dependence_of_gaps_comes_back():
    rng = np.random.default_rng(1)
    busy = np.repeat(rng.random(400) < 0.5, 50)
    gaps = rng.exponential(np.where(busy, 0.05, 1.0))
    w = Workload.of(np.cumsum(gaps), np.full(len(gaps), 9), np.full(len(gaps), 9))
    made = fit(w, arrivals="chain").generate(seed=3)
    shuffled = np.cumsum(rng.permutation(gaps))
    truth, ours, plain = (stats.fano(t, 1.0) for t in (w.arrival, made.arrival, shuffled))
    assert abs(np.log(ours / truth)) < abs(np.log(plain / truth))
    assert stats.ks_distance(np.diff(w.arrival), np.diff(made.arrival)) < 0.02


def test_prompt_and_output_stay_dependent():
    rng = np.random.default_rng(2)
    prompt = rng.integers(1, 2000, 8000)
    output = np.maximum(1, 1000 - prompt // 2 + rng.integers(0, 200, 8000))
    w = Workload.of(np.cumsum(rng.exponential(1, 8000)), prompt, output)
    near = goodness(w, fit(w).generate(seed=5))
    pair = near.figures["prompt_output_rank"]
    assert pair.generated == pytest.approx(pair.original, abs=0.05)
    assert max(near.ks_prompt, near.ks_output) < 0.03


def test_classes_keep_their_lengths():
    model = fit(by_name("tenants(n=6000, clients=3)", seed=1))
    w = model.generate(seed=2)
    for k, name in enumerate(w.tenants):
        own = next(c for c in model.classes if c.tenant == name)
        assert (w.tenant == k).mean() == pytest.approx(own.share, abs=0.03)


def test_sessions_come_back():
    trace = sessions(3000, 4.0, rate=2.0, think=12.0, max_context=10**6, seed=1)
    model = fit(trace)
    assert model.sessions.turns == pytest.approx(4.0, rel=0.05)
    assert model.sessions.think == pytest.approx(12.0, rel=0.05)
    again = model.generate(seed=4)
    assert goodness(trace, again).ks_output < 0.03
    assert stats.ideal_reuse(again) == pytest.approx(stats.ideal_reuse(trace), abs=0.05)


def test_streams_of_conversations_and_single_requests_are_fitted_apart(tmp_path):
    trace = by_name("burstgpt(n=12000)", seed=1)
    model = fit(trace)
    assert len(model.parts) == 4
    model.save(tmp_path / "m.json")
    again = load(tmp_path / "m.json").generate(seed=2)
    share = {name: (trace.tenant == k).mean() for k, name in enumerate(trace.tenants)}
    for k, name in enumerate(again.tenants):
        assert (again.tenant == k).mean() == pytest.approx(share[name], abs=0.05)
    assert (again.parent >= 0).mean() == pytest.approx((trace.parent >= 0).mean(), abs=0.05)
    assert goodness(trace, again).ks_prompt < 0.06
    assert stats.ideal_reuse(again) == pytest.approx(stats.ideal_reuse(trace), abs=0.1)


def test_a_fitted_model_survives_the_file(tmp_path):
    model = fit(by_name("poisson(n=500, rate=2)", seed=1), source="here", licence="none")
    model.save(tmp_path / "m.json")
    again = load(tmp_path / "m.json")
    assert (again.source, again.licence, again.requests) == ("here", "none", 500)
    np.testing.assert_allclose(again.generate(seed=1).arrival, model.generate(seed=1).arrival, rtol=1e-3)
    (tmp_path / "bad.json").write_text("{}")
    with pytest.raises(InputError, match="no fitted workload"):
        load(tmp_path / "bad.json")


def test_generate_by_number_duration_and_rate():
    model = load("azure-2023-conv")
    assert len(model.generate(700)) == 700
    day = model.generate(duration=7200.0, seed=1)
    assert 7000 < day.duration < 7200
    assert model.generate(4000, rate=20.0).rate == pytest.approx(20.0, rel=0.35)
    with pytest.raises(InputError, match="rate: found 0"):
        model.generate(rate=0)


def test_too_little_to_fit():
    with pytest.raises(InputError, match="5 arrivals"):
        fit(by_name("poisson(n=5)"))
    with pytest.raises(InputError, match="did you mean gamma"):
        fit(by_name("poisson(n=50)"), arrivals="gama")


def test_reuse_by_a_slow_reference():
    w = by_name("mooncake-conversation(n=300)", seed=3)
    chains = [w.prefix_hash[w.prefix_start[i] : w.prefix_start[i + 1]].tolist() for i in range(len(w))]
    for i, found in enumerate(measure(w)[0].tolist()):
        seen = {h for chain in chains[:i] for h in chain}
        slow = 0
        while slow < len(chains[i]) and chains[i][slow] in seen:
            slow += 1
        assert found == slow


def test_shipped_models_name_source_and_licence():
    for name in shipped():
        model = load(name)
        assert model.name == name
        assert model.source
        assert model.licence


KINDS = {"azure-2023-conv": PiecewiseGamma, "azure-2023-code": GapChain, "mooncake-conversation": Batches}
REAL = {
    "azure-2023-conv": "azure_2023_conv.csv",
    "azure-2023-code": "azure_2023_code.csv",
    "mooncake-conversation": "mooncake_conversation.jsonl",
    "mooncake-synthetic": "mooncake_synthetic.jsonl",
}


@pytest.mark.parametrize("name", REAL)
def test_shipped_models_are_near_their_traces(name):
    folder = data_folder()
    if folder is None:
        pytest.skip("the original traces are not on this machine (set ROTA_DATA)")
    trace, model = read(folder / "traces" / REAL[name]), load(name)
    assert isinstance(model.arrivals, KINDS.get(name, GapChain))
    found = [goodness(trace, model.generate(seed=seed)) for seed in range(5)]
    for distance in ("ks_gap", "ks_prompt", "ks_output"):
        assert np.mean([getattr(g, distance) for g in found]) < found[0].ks_noise
    cv = found[0].figures["gap_cv"].original
    assert np.mean([g.figures["gap_cv"].generated for g in found]) == pytest.approx(cv, rel=0.15)
    reuse = found[0].figures["ideal_reuse"].original
    if not np.isnan(reuse):
        assert np.mean([g.figures["ideal_reuse"].generated for g in found]) == pytest.approx(reuse, abs=0.03)
