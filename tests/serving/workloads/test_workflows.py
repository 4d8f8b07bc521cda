"""Workflows: a request that waits for several arrives after the last of them, wherever the workload has been."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import rota
from rota.core.errors import InputError
from rota.serving.fleets import fleet
from rota.serving.model import Workload
from rota.serving.workloads import by_name, read, write
from rota.serving.workloads.merge import merge
from rota.serving.workloads.select import select
from rota.serving.workloads.workflows import workflows


@settings(deadline=None, max_examples=25)
@given(st.integers(1, 30), st.floats(1, 6), st.floats(1, 3), st.integers(0, 99))
def test_stages_wait_for_the_ones_before(n, width, rounds, seed):
    w = workflows(n, 1.0, width=width, rounds=rounds, prompt=100, output="uniform(low=1, high=50)", seed=seed)
    waits = w.predecessors()
    assert len(w) - len(waits) == n == len(np.unique(w.session))
    for row, earlier in waits.items():
        assert (w.session[earlier] == w.session[row]).all()
        assert (w.turn[earlier] == w.turn[row] - 1).all()
        assert w.prompt[row] == 100 + w.output[earlier].sum()
        if w.turn[row] % 2 == 0:
            everyone = np.flatnonzero((w.session == w.session[row]) & (w.turn == w.turn[row] - 1))
            assert sorted(earlier) == everyone.tolist(), "a join waits for every worker of its round"


def test_the_means_are_those_asked_for():
    w = workflows(4000, 1.0, width=4.0, rounds=1.5, seed=1)
    joins = np.flatnonzero((w.turn > 0) & (w.turn % 2 == 0))
    assert len(joins) / 4000 == pytest.approx(1.5, rel=0.05)
    assert (len(w) - 4000 - len(joins)) / len(joins) == pytest.approx(4.0, rel=0.05)


def test_a_join_arrives_after_the_last_it_waits_for():
    w = by_name("workflows(n=40, rate=2.0, think=0.25)", seed=3)
    run = rota.simulate(fleet("2 x llama-3-8b/h100"), w, {"dispatch": "least-requests"})
    for row, earlier in w.predecessors().items():
        assert run.requests["arrival"][row] == run.requests["finish"][earlier].max() + 0.25
    run.check()


@pytest.mark.parametrize("suffix", ["jsonl", "parquet"])
def test_joins_survive_a_file(tmp_path, suffix):
    w = workflows(20, seed=5)
    back = read(write(w, tmp_path / f"flows.{suffix}"))
    np.testing.assert_array_equal(back.joins, w.joins)
    np.testing.assert_array_equal(back.parent, w.parent)
    with pytest.raises(InputError, match="wait for an answer"):
        write(w, tmp_path / "flows.csv")


def test_a_part_holds_no_join_without_its_workers():
    w = workflows(30, rate=1.0, output="uniform(low=1, high=99)", seed=2)
    part = select(w, start=5.0, end=20.0)
    assert set(part.session) == set(w.session[(w.arrival >= 5) & (w.arrival < 20)])
    cut = w.take(np.arange(len(w)) != int(w.joins[0, 1]))
    gone = set(w.session[[w.joins[0, 0]]])
    assert len(cut) < len(w) - 1
    assert {s for s in gone if (cut.turn[cut.session == s] == w.turn[w.joins[0, 0]]).any()} == set()
    assert all((cut.session[waits] == cut.session[row]).all() for row, waits in cut.predecessors().items())
    assert all((cut.prompt[row] == 512 + cut.output[waits].sum()) for row, waits in cut.predecessors().items())


def test_merged_workflows_keep_to_themselves():
    one, other = (workflows(15, rate=r, output="uniform(low=1, high=99)", seed=s) for r, s in ((1.0, 1), (1.3, 2)))
    both = merge([one, other])
    assert len(both.joins) == len(one.joins) + len(other.joins)
    for row, earlier in both.predecessors().items():
        assert (both.session[earlier] == both.session[row]).all()
        assert both.prompt[row] == 512 + both.output[earlier].sum()


@pytest.mark.parametrize("joins", [[(0, 1)], [(2, 2)], [(9, 0)], [(1, 0)], [(2, -1)], [(1, 2, 3)]])
def test_a_join_that_cannot_be_is_refused(joins):
    with pytest.raises(InputError, match="joins"):
        Workload.of([0.0, 1.0, 2.0], [1] * 3, [1] * 3, parent=[-1, -1, 0], joins=joins)


@pytest.mark.parametrize("wrong", ["width=0.5", "width=1e400", "rounds=0", "think=-1", "rate=0"])
def test_parameters_out_of_range_are_named(wrong):
    with pytest.raises(InputError, match=wrong.partition("=")[0]):
        by_name(f"workflows({wrong})")


def test_one_engine_with_changing_priorities_takes_conversations_only():
    from rota.serving.preemptive import simulate_preemptive

    with pytest.raises(InputError, match="joins"):
        simulate_preemptive(fleet("llama-3-8b/a10").kinds[0], workflows(5, seed=0))


def test_a_file_that_joins_what_is_not_there_is_refused(tmp_path):
    path = tmp_path / "flows.jsonl"
    path.write_text(
        '{"id": 0, "t": 0, "in": 5, "out": 5}\n{"id": 1, "t": 0, "in": 5, "out": 5, "parent": 0, "joins": [7]}\n'
    )
    with pytest.raises(InputError, match="id 1: joins"):
        read(path)
