"""The arithmetic behind a Gantt chart: lanes without overlap, tasks held at once, windows of time."""

from __future__ import annotations

import heapq

import numpy as np
from numpy.typing import NDArray

from rota.core.timeline import Timeline

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def lanes(timeline: Timeline) -> Ints:
    """A lane for each row such that no two rows overlap on one lane of one resource; as few lanes as can be.

    Interval partitioning: rows by start, each on the lane that has been free longest, or on a new one.
    """
    lane = np.zeros(len(timeline), dtype=np.int64)
    busy: dict[int, list[tuple[float, int]]] = {}
    order = np.lexsort((timeline.end, timeline.start))
    columns = (timeline.resource[order].tolist(), timeline.start[order].tolist(), timeline.end[order].tolist())
    for row, resource, start, end in zip(order.tolist(), *columns, strict=True):
        heap = busy.setdefault(resource, [])
        if heap and heap[0][0] <= start:
            lane[row] = heap[0][1]
            heapq.heapreplace(heap, (end, heap[0][1]))
        else:
            lane[row] = len(heap)
            heapq.heappush(heap, (end, len(heap)))
    return lane


def lane_counts(timeline: Timeline, lane: Ints) -> Ints:
    """(resources,) how many lanes each resource needs."""
    counts = np.zeros(len(timeline.resource_names), dtype=np.int64)
    np.maximum.at(counts, timeline.resource, lane + 1)
    return counts


def concurrency(start: Floats, end: Floats, edges: Floats) -> Floats:
    """Mean number of intervals under way between successive edges.

    Args:
        start, end: (n,) intervals.
        edges: (m + 1,) increasing.

    Returns:
        (m,) means.
    """
    area = _area_before(start, edges) - _area_before(end, edges)
    return (np.diff(area) / np.diff(edges)).clip(min=0.0)


def held(timeline: Timeline, resources: Ints, kinds: Ints, edges: Floats) -> Floats:
    """(resources, kinds, stretches of time): mean number of tasks of a kind on a resource between successive edges."""
    means = np.zeros((len(resources), len(kinds), len(edges) - 1))
    group = timeline.resource * len(timeline.kind_names) + timeline.kind
    order = np.argsort(group, kind="stable")
    codes, begin = np.unique(group[order], return_index=True)
    rows_of = dict(zip(codes.tolist(), np.split(order, begin[1:]), strict=True))
    for i, resource in enumerate(resources.tolist()):
        for k, kind in enumerate(kinds.tolist()):
            rows = rows_of.get(resource * len(timeline.kind_names) + kind)
            if rows is not None:
                means[i, k] = concurrency(timeline.start[rows], timeline.end[rows], edges)
    return means


def clipped(timeline: Timeline, first: float, last: float) -> Timeline:
    """The rows that overlap [first, last], cut to it."""
    rows = timeline.take((timeline.end >= first) & (timeline.start <= last))
    return Timeline(
        rows.task,
        rows.resource,
        rows.kind,
        np.maximum(rows.start, first),
        np.minimum(rows.end, last),
        rows.task_names,
        rows.resource_names,
        rows.kind_names,
        rows.columns,
    )


def busiest(timeline: Timeline, rows: int) -> tuple[float, float]:
    """A window of time around the moment with the most tasks at once, with at most `rows` rows in it.

    Where more than `rows` tasks are under way at that moment, the window has next to no width.
    """
    moments = np.concatenate([timeline.start, timeline.end])
    change = np.repeat([1, -1], len(timeline))
    order = np.lexsort((-change, moments))
    peak = float(moments[order][np.argmax(np.cumsum(change[order]))])
    starts, ends, (first, last) = np.sort(timeline.start), np.sort(timeline.end), timeline.span

    def within(half: float) -> int:
        return int(np.searchsorted(starts, peak + half, "right") - np.searchsorted(ends, peak - half, "left"))

    half = last - first
    while half > 1e-9 * (last - first) and within(half) > rows:
        half /= 1.25
    return max(first, peak - half), min(last, peak + half)


def _area_before(moments: Floats, edges: Floats) -> Floats:
    """Sum over moments of max(0, edge - moment), for each edge."""
    ordered = np.sort(moments)
    passed = np.searchsorted(ordered, edges)
    return edges * passed - np.concatenate([[0.0], np.cumsum(ordered)])[passed]
