"""Capacity planning: the search, objectives as text, and a small plan from end to end."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rota.core.errors import Infeasible, InputError, UnknownName
from rota.serving.fleets import instance
from rota.serving.model import Fleet
from rota.serving.plan import fewest, plan
from rota.serving.simulate import simulate
from rota.serving.slo import Bound, parse
from rota.serving.workloads import by_name


@settings(max_examples=50)
@given(need=st.integers(1, 700), most=st.integers(1, 600))
def test_the_search_finds_what_brute_force_finds(need, most):
    asked = []
    found = fewest(lambda n: asked.append(n) or n >= need, most)
    assert found == next((n for n in range(1, most + 1) if n >= need), 0)
    assert max(asked) <= most
    assert len(set(asked)) <= 2 * most.bit_length() + 2


@settings(max_examples=50)
@given(kept=st.lists(st.booleans(), min_size=1, max_size=40))
def test_where_more_is_sometimes_worse_the_answer_still_holds_and_one_less_does_not(kept):
    found = fewest(lambda n: kept[n - 1], len(kept))
    if found:
        assert kept[found - 1]
        assert found == 1 or not kept[found - 2]
    else:
        assert not kept[0]


def test_objectives_are_read_with_their_units():
    assert parse("ttft_p99<1s, tpot_p95<=50ms,slo_attainment>99%") == (
        Bound("ttft_p99", 1.0), Bound("tpot_p95", pytest.approx(0.05)), Bound("slo_attainment", pytest.approx(0.99), least=True),
    )  # fmt: skip
    assert parse("e2e_mean < 2 min")[0].limit == 120
    assert parse("e2e_mean<1e-3")[0].limit == 0.001


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "--slo: found '', expected terms such as"), ("ttft_p99", "found 'ttft_p99'"), ("ttft_p99<1 parsec", "found 'ttft_p99<1 parsec'"),
        ("ttft_p99<1s,", "found ''"), ("ttft_p99<1.2.3s", "found '1.2.3', expected a number"), ("ttft_p9<1s", "did you mean ttft_p99"),
    ],
)  # fmt: skip
def test_objectives_that_cannot_be_read(text, sentence):
    with pytest.raises((InputError, UnknownName), match=re.escape(sentence)):
        parse(text, known={"ttft_p99": 0.0, "tpot_p95": 0.0})


def test_a_promise_is_kept_at_its_limit_and_not_by_nan():
    assert Bound("x", 1.0).kept(1.0)
    assert not Bound("x", 1.0).kept(1.1)
    assert Bound("x", 1.0, least=True).kept(1.1)
    assert not Bound("x", 1.0).kept(float("nan"))
    assert not Bound("x", 1.0, least=True).kept(float("nan"))


TRACE = 'llumnix(trace="S-S", rate=20.0, n=400)'
POLICIES = {"turns": {"dispatch": "round-robin"}, "load": {"dispatch": "least-load"}}


def test_a_plan_names_the_fewest_and_shows_that_one_less_will_not_do(tmp_path):
    made = plan(TRACE, "llama-7b/a10", "ttft_p99<1s", POLICIES, most=32, jobs=1, out=tmp_path, progress=False)
    assert {o.policies for o in made.options} == set(POLICIES)
    assert made.best.instances == min(o.instances for o in made.options)
    for option in made.options:
        for count, metrics in ((option.instances, option.metrics), (option.instances - 1, option.fewer)):
            run = simulate(Fleet.of(instance("llama-7b/a10"), count), by_name(TRACE, seed=0), POLICIES[option.policies])
            assert metrics["ttft_p99"] == pytest.approx(run.metrics["ttft_p99"])
            assert (run.metrics["ttft_p99"] <= 1.0) == (count == option.instances)
    assert made.to_dict()["options"][0]["with_one_less"]


def test_an_objective_that_cannot_be_kept_is_infeasible():
    made = plan(TRACE, "llama-7b/a10", "tpot_mean<1us", {"turns": {}}, most=2, jobs=1, progress=False)
    assert made.options[0].instances == 0
    with pytest.raises(Infeasible, match="no number of instances that was tried keeps tpot_mean<1e-06"):
        _ = made.best


def test_mistakes_are_found_before_anything_runs():
    with pytest.raises(UnknownName, match="did you mean round-robin"):
        plan(TRACE, "llama-7b/a10", "ttft_p99<1s", {"a": {"dispatch": "round-robbin"}}, progress=False)
    with pytest.raises(UnknownName, match="did you mean"):
        plan(TRACE, "llama-7b/a10", "ttft_p9<1s", progress=False)
    with pytest.raises(UnknownName, match="llama-7b/a10"):
        plan(TRACE, "llama-7b/a1O", "ttft_p99<1s", progress=False)
