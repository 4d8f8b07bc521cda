import itertools
import time

import numpy as np
import pytest
import synthetic
from hypothesis import given, settings
from hypothesis import strategies as st

from rota.core.timeline import Recorder, Timeline
from rota.report import lanes, style
from rota.report.gantt import gantt

spans = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 40), st.integers(0, 10)), min_size=1, max_size=40)


def timeline_of(rows):
    resource, start, length = (np.array(column) for column in zip(*rows, strict=True))
    n = len(rows)
    return Timeline(np.arange(n), resource, np.zeros(n), start, start + length, [str(i) for i in range(n)], "abc", "k")


@given(spans)
@settings(deadline=None, max_examples=50)
def test_lanes_never_overlap_and_are_as_few_as_the_most_at_once(rows):
    timeline = timeline_of([(r, s, length + 1) for r, s, length in rows])
    lane = lanes.lanes(timeline)
    for i in range(len(timeline)):
        for j in range(i):
            if timeline.resource[i] == timeline.resource[j] and lane[i] == lane[j]:
                assert timeline.end[i] <= timeline.start[j] or timeline.end[j] <= timeline.start[i]
    for resource in range(3):
        here = timeline.resource == resource
        most = max((int(((timeline.start <= t) & (timeline.end > t) & here).sum()) for t in range(60)), default=0)
        assert lanes.lane_counts(timeline, lane)[resource] == most


@given(spans)
@settings(deadline=None, max_examples=50)
def test_concurrency_agrees_with_adding_up_overlaps(rows):
    timeline = timeline_of(rows)
    edges = np.linspace(0, 50, 8)
    found = lanes.concurrency(timeline.start, timeline.end, edges)
    slow = [
        sum(max(0.0, min(e, b) - max(s, a)) for s, e in zip(timeline.start, timeline.end, strict=True)) / (b - a)
        for a, b in itertools.pairwise(edges)
    ]
    assert found == pytest.approx(slow, abs=1e-9)


def bars(figure):
    return [
        (trace.name, base, base + width)
        for trace in figure.data
        for base, width in zip(trace.base, trace.x, strict=True)
    ]


def test_a_small_timeline_is_drawn_row_by_row():
    timeline = synthetic.timeline(300)
    drawn = sorted(bars(gantt(timeline)))
    rows = sorted((kind, start, end) for _, _, kind, start, end in timeline.rows())
    assert [name for name, *_ in drawn] == [name for name, *_ in rows]
    assert np.allclose([d[1:] for d in drawn], [r[1:] for r in rows])


def test_a_large_timeline_is_fast_small_and_says_so():
    timeline = synthetic.timeline(200_000, 16)
    began = time.perf_counter()
    figure = gantt(timeline)
    text = figure.to_json()
    assert time.perf_counter() - began < 5
    assert len(text) < 1_000_000
    assert len(bars(figure)) <= 4000
    assert figure.layout.annotations[0].text.startswith("200,000 rows summed up")


def test_the_strips_hold_all_the_work():
    timeline = synthetic.timeline(20_000, 4)
    edges = np.linspace(*timeline.span, 101)
    at_once = lanes.held(timeline, np.arange(4), np.arange(4), edges)
    assert (at_once * np.diff(edges)).sum() == pytest.approx((timeline.end - timeline.start).sum())


def test_many_resources_are_cut_to_the_busiest_with_a_note():
    figure = gantt(synthetic.timeline(20_000, 900))
    assert "busiest of 900 resources" in figure.layout.annotations[0].text
    assert len(bars(figure)) <= 4000


def test_many_tasks_at_once_become_strips_even_if_they_are_few():
    timeline = timeline_of([(0, 0, 10)] * 500)
    assert "a full strip is 500" in gantt(timeline).layout.annotations[0].text


def test_nothing_to_draw():
    assert gantt(Recorder().freeze()).layout.annotations[0].text == "nothing was scheduled"


@pytest.mark.parametrize("length", [0, 3])
def test_a_single_row_and_a_single_instant(length):
    assert len(bars(gantt(timeline_of([(0, 5, length)]), max_rows=1))) == 1
    gantt(timeline_of([(0, 5, 0)] * 9), max_rows=3)


def test_a_window_cuts_what_crosses_it():
    timeline = timeline_of([(0, 0, 10), (0, 20, 10), (1, 5, 20)])
    assert sorted(bars(gantt(timeline, window=(8, 15)))) == [("k", 8, 10), ("k", 8, 15)]


def test_the_busiest_moment_is_within_its_window():
    timeline = timeline_of([(0, t, 1) for t in range(40)] + [(1, 21, 2)] * 5)
    first, last = lanes.busiest(timeline, 12)
    assert first <= 21 <= last
    assert len(lanes.clipped(timeline, first, last)) <= 12
    assert lanes.busiest(timeline, 1000) == timeline.span


def test_names_are_shown_as_they_are():
    timeline = Timeline([0], [0], [0], [0], [1], [synthetic.EVIL], [synthetic.EVIL], [synthetic.EVIL])
    assert "<img" not in gantt(timeline).to_json().replace("\\u003c", "<")


def test_more_kinds_than_colours_differ_by_hatch():
    kinds = [f"kind {i}" for i in range(20)]
    colours, hatches = style.colours(kinds), style.hatches(kinds)
    assert len({(colours[k], hatches[k]) for k in kinds}) == 20
