"""The verifier against slow, obvious ones; and each rule broken on purpose is named."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rota.core import verify
from rota.core.errors import RuleViolation, UnknownName
from rota.core.timeline import Recorder

rows = st.lists(
    st.tuples(st.integers(0, 5), st.integers(0, 2), st.integers(0, 20), st.integers(0, 6), st.integers(1, 4)),
    max_size=25,
)
fast = settings(deadline=None, max_examples=50)


def build(rows):
    """A timeline of (task, resource, start, duration, demand) numbers."""
    recorder = Recorder(["demand"])
    for task, resource, start, duration, demand in rows:
        recorder.add(f"t{task}", f"m{resource}", "run", start, start + duration, demand=demand)
    return recorder.freeze()


def chain(n=4, gap=0.0):
    """Tasks t0, t1, ... one after another on one machine, 2 long."""
    return [(i, 0, i * (2 + gap), 2, 1) for i in range(n)]


@fast
@given(rows)
def test_overlap_agrees_with_looking_at_every_pair(rows):
    found = verify.no_overlap(build(rows))
    late = 0
    for resource in range(3):
        on = sorted((s, s + d) for _, r, s, d, _ in rows if r == resource and d > 0)
        late += sum(any(on[i][1] > on[j][0] for i in range(j)) for j in range(len(on)))
    assert len(found) == late


@fast
@given(rows, st.integers(1, 8))
def test_capacity_agrees_with_looking_at_every_moment(rows, limit):
    found = verify.capacity(build(rows), {f"m{r}": limit for r in range(3)}, "demand")
    excesses = 0
    for resource in range(3):
        level = [sum(k for _, r, s, d, k in rows if r == resource and s <= t < s + d) for t in range(30)]
        excesses += sum(level[t] > limit and (t == 0 or level[t - 1] <= limit) for t in range(30))
    assert len(found) == excesses


@fast
@given(rows, st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), max_size=10), st.integers(0, 3))
def test_precedence_agrees_with_looking_at_every_row(rows, pairs, lag):
    def kept(a, b):
        before, after = [r for r in rows if r[0] == a], [r for r in rows if r[0] == b]
        return not after or bool(before and all(q[2] >= p[2] + p[3] + lag for p in before for q in after))

    found = verify.precedence(build(rows), [(f"t{a}", f"t{b}") for a, b in pairs], lag)
    assert len(found) == sum(not kept(a, b) for a, b in pairs)


@fast
@given(rows, st.lists(st.integers(0, 20), min_size=6, max_size=6))
def test_release_agrees_with_looking_at_every_row(rows, times):
    early = {task for task, _, start, _, _ in rows if start < times[task]}
    found = verify.release(build(rows), {f"t{task}": time for task, time in enumerate(times)})
    assert {text.split()[0] for text in found} == {f"t{task}" for task in early}


@fast
@given(rows)
def test_conservation_agrees_with_adding_up(rows):
    totals = {f"t{t}": sum(k for task, _, _, _, k in rows if task == t) for t in range(6)}
    assert verify.conservation(build(rows), "demand", totals) == []
    assert len(verify.conservation(build(rows), "demand", {t: v + 1 for t, v in totals.items()})) == 6


def test_a_long_row_hides_nothing_behind_a_short_one():
    text = verify.no_overlap(build([(0, 0, 0, 10, 1), (1, 0, 1, 1, 1), (2, 0, 5, 1, 1)]))
    assert text == [
        "m0: t1 [1, 2) starts before t0 [0, 10) has ended",
        "m0: t2 [5, 6) starts before t0 [0, 10) has ended",
    ]


def test_a_kept_schedule_becomes_a_broken_one():
    good = build(chain())
    assert verify.no_overlap(good) == []
    moved = chain()
    moved[2] = (2, 0, 3.5, 2, 1)
    (text,) = verify.no_overlap(build(moved))
    assert text == "m0: t2 [3.5, 5.5) starts before t1 [2, 4) has ended"
    assert verify.no_overlap(build(moved), tolerance=0.5) == []
    assert verify.no_overlap(build(moved), resources=[]) == []
    assert verify.no_overlap(build(moved), resources=["m0", "unused"]) == [text]


def test_capacity_names_when_how_much_and_by_whom():
    crowd = [(i, 0, i, 10, 3) for i in range(5)]
    assert verify.capacity(build(crowd), {"m0": 15}, "demand") == []
    (text,) = verify.capacity(build(crowd), {"m0": 11, "unused": 1}, "demand")
    assert text == "m0: 12 of 11 in use at 3, by t0 [0, 10), t1 [1, 11), t2 [2, 12) and 1 more"
    assert len(verify.capacity(build(crowd), {"m0": 4})) == 1
    assert verify.capacity(build(crowd), {"m0": 5}) == []


def test_precedence_names_both_tasks_and_the_lag():
    pairs = [("t0", "t1"), ("t1", "t2")]
    assert verify.precedence(build(chain()), pairs) == []
    assert verify.precedence(build(chain()), [("t1", "t0")]) == ["t0 starts at 0, but t1 ends at 4"]
    assert verify.precedence(build(chain()), pairs[:1], lag=1) == [
        "t1 starts at 2, but t0 ends at 2 and a lag of 1 is due"
    ]
    assert verify.precedence(build(chain(gap=1)), pairs, lag=1) == []
    (text,) = verify.precedence(build(chain()), [("t9", "t1")])
    assert text == "t1 starts at 2, but t9, which goes before it, never runs"
    assert verify.precedence(build(chain()), [("t1", "t9")]) == []


def test_release_names_task_and_times():
    assert verify.release(build(chain()), {"t1": 2, "t9": 100}) == []
    assert verify.release(build(chain()), {"t1": 2.5}) == ["t1 starts at 2, before its release at 2.5"]
    assert verify.release(build(chain()), {"t1": 2.5}, tolerance=0.5) == []


def test_completion_counts_each_task():
    names = [f"t{i}" for i in range(4)]
    assert verify.completion(build(chain()), names) == []
    assert verify.completion(build(chain()[:3]), names) == ["t3 is completed 0 times, not once"]
    assert verify.completion(build(chain() + chain()[:1]), names) == ["t0 is completed 2 times, not once"]
    assert verify.completion(build(chain()), names[:3]) == ["t3 is completed, but was never asked for"]
    assert verify.completion(build(chain()), names, kind="run") == []
    with pytest.raises(UnknownName):
        verify.completion(build(chain()), names, kind="finish")


def test_conservation_of_time_and_of_a_column():
    totals = {f"t{i}": 2.0 for i in range(4)}
    assert verify.conservation(build(chain()), "duration", totals) == []
    assert verify.conservation(build(chain()[:3]), "duration", totals) == ["t3: duration adds up to 0, not 2"]
    del totals["t1"]
    assert verify.conservation(build(chain()), "duration", totals) == ["t1: duration adds up to 2, not 0"]
    with pytest.raises(UnknownName, match="timeline column"):
        verify.conservation(build(chain()), "tokens", totals)
    with pytest.raises(UnknownName, match="did you mean demand"):
        verify.capacity(build(chain()), {"m0": 1}, "demands")


def test_rounding_is_forgiven_where_it_must_be():
    tenths = [(i, 0, 0.1 * i, 0.1, 0.1) for i in range(10)]
    assert verify.capacity(build(tenths), {"m0": 0.2}, "demand") == []


def test_an_empty_timeline_breaks_nothing():
    empty = Recorder(["demand"]).freeze()
    assert verify.no_overlap(empty) == verify.capacity(empty, {"m0": 0}) == verify.release(empty, {"t0": 1}) == []
    assert verify.precedence(empty, [("a", "b")]) == verify.completion(empty, []) == []


def test_require_raises_every_violation():
    verify.require([])
    with pytest.raises(RuleViolation) as error:
        verify.require([f"rule {i}" for i in range(7)])
    assert len(error.value.violations) == 7
    assert "7 broken rule(s): rule 0; " in str(error.value)


def test_a_hundred_thousand_rows_in_a_moment():
    n = 100_000
    recorder = Recorder()
    recorder.names(task=[f"t{i}" for i in range(n)], resource=["m"], kind=["run"])
    recorder.extend(np.arange(n), 0, 0, np.arange(n), np.arange(n) + 1)
    timeline = recorder.freeze()
    assert verify.no_overlap(timeline) == verify.capacity(timeline, {"m": 1}) == []
