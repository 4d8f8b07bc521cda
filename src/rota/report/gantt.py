"""A timeline as a picture: bars on lanes while they can be told apart, and how much went on at once when they cannot."""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from rota.core.errors import optional
from rota.core.timeline import Timeline
from rota.report import style

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

LANES = 400
"""Most lanes that are drawn as bars; more could not be told apart on a screen."""
BINS = (24, 400)
"""Fewest and most stretches of time in the overview."""


def gantt(timeline: Timeline, max_rows: int = 4000, *, window: tuple[float, float] | None = None) -> Figure:
    """A Plotly figure of a timeline: resources downward, time to the right, one colour a kind.

    Up to `max_rows` rows every row is a bar, and tasks that overlap on a resource get lanes of their own. Beyond that
    each resource becomes a strip that shows how many tasks of each kind it held at each time; a note in the figure says
    so. The figure never has more than about `max_rows` bars.

    Args:
        timeline: any timeline.
        max_rows: how many bars the figure may have.
        window: (from, to) in the timeline's unit of time; rows outside are left out, rows across are cut.
    """
    shown = timeline if window is None else clipped(timeline, *window)
    if len(shown) <= max_rows:
        lane = lanes(shown)
        if len(shown) == 0 or int(_lane_counts(shown, lane).sum()) <= LANES:
            return _bars(shown, lane)
    return _strips(shown, max_rows)


def clipped(timeline: Timeline, first: float, last: float) -> Timeline:
    """The rows that overlap [first, last], cut to it."""
    rows = timeline.take((timeline.end >= first) & (timeline.start <= last))
    kept = {name: getattr(rows, name) for name in ("task", "resource", "kind", "task_names", "resource_names", "kind_names")}
    return Timeline(**kept, start=np.maximum(rows.start, first), end=np.minimum(rows.end, last), columns=rows.columns)


def busiest(timeline: Timeline, rows: int) -> tuple[float, float]:
    """A window of time around the moment with the most tasks at once, with at most about `rows` rows in it."""
    moments = np.concatenate([timeline.start, timeline.end])
    change = np.repeat([1, -1], len(timeline))
    order = np.lexsort((-change, moments))
    peak = float(moments[order][np.argmax(np.cumsum(change[order]))])
    starts, ends, (first, last) = np.sort(timeline.start), np.sort(timeline.end), timeline.span

    def held(half: float) -> int:
        return int(np.searchsorted(starts, peak + half, "right") - np.searchsorted(ends, peak - half, "left"))

    half = last - first
    while half > 1e-9 * (last - first) and held(half) > rows:
        half /= 1.25
    return max(first, peak - half), min(last, peak + half)


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


def concurrency(start: Floats, end: Floats, edges: Floats) -> Floats:
    """Mean number of intervals that are under way between successive edges; (len(edges) - 1,)."""
    area = _area_before(start, edges) - _area_before(end, edges)
    return np.diff(area) / np.diff(edges)


def _area_before(moments: Floats, edges: Floats) -> Floats:
    """Sum over moments of max(0, edge - moment), for each edge."""
    ordered = np.sort(moments)
    passed = np.searchsorted(ordered, edges)
    return edges * passed - np.concatenate([[0.0], np.cumsum(ordered)])[passed]


def _lane_counts(timeline: Timeline, lane: Ints) -> Ints:
    counts = np.zeros(len(timeline.resource_names), dtype=np.int64)
    np.maximum.at(counts, timeline.resource, lane + 1)
    return counts


def _bars(timeline: Timeline, lane: Ints) -> Figure:
    counts = _lane_counts(timeline, lane)
    top = np.cumsum(counts) - counts
    used = np.flatnonzero(counts)
    figure = _figure([timeline.resource_names[r] for r in used], top[used] + (counts[used] - 1) / 2, top[used] - 0.5, int(counts.sum()), "")
    for code in np.unique(timeline.kind).tolist():
        rows = np.flatnonzero(timeline.kind == code)
        names = [style.escape(timeline.task_names[t]) for t in timeline.task[rows]]
        y = (top[timeline.resource[rows]] + lane[rows]).astype(float)
        _add_kind(figure, timeline, code, start=timeline.start[rows], end=timeline.end[rows], y=y, height=0.86, text=names)
    return figure


def _strips(timeline: Timeline, max_rows: int) -> Figure:
    kinds = np.unique(timeline.kind)
    work = np.bincount(timeline.resource, timeline.end - timeline.start, len(timeline.resource_names))
    used = np.unique(timeline.resource)
    room = max(1, min(max_rows // (BINS[0] * len(kinds)), 60))
    chosen = np.sort(used[np.argsort(-work[used], kind="stable")[:room]])
    bins = int(np.clip(max_rows // (len(chosen) * len(kinds)), *BINS))
    first, last = timeline.span
    edges = np.linspace(first, last if last > first else first + 1.0, bins + 1)
    held = _held(timeline, chosen, kinds, edges)
    peak = float(held.sum(axis=1).max()) or 1.0
    height = 0.9 * held / peak
    base = np.arange(len(chosen))[:, None, None] + 0.45 - np.cumsum(height, axis=1)
    dropped = f"; the {len(chosen)} busiest of {len(used)} resources" if len(chosen) < len(used) else ""
    note = f"{len(timeline):,} rows, summed up: the height is the tasks held at once, a full strip is {peak:.3g}{dropped}"
    figure = _figure([timeline.resource_names[r] for r in chosen], np.arange(len(chosen)), np.arange(len(chosen)) - 0.5, len(chosen), note)
    for k, code in enumerate(kinds.tolist()):
        r, b = np.nonzero(height[:, k, :] > 0.002)
        text = [f"{held[i, k, j]:.3g} at once" for i, j in zip(r, b, strict=True)]
        y = base[r, k, b] + height[r, k, b] / 2
        _add_kind(figure, timeline, code, start=edges[b], end=edges[b + 1], y=y, height=height[r, k, b], text=text)
    return figure


def _held(timeline: Timeline, resources: Ints, kinds: Ints, edges: Floats) -> Floats:
    """(resources, kinds, bins): mean number of tasks of a kind on a resource in a stretch of time."""
    held = np.zeros((len(resources), len(kinds), len(edges) - 1))
    group = timeline.resource * len(timeline.kind_names) + timeline.kind
    order = np.argsort(group, kind="stable")
    codes, begin = np.unique(group[order], return_index=True)
    rows_of = dict(zip(codes.tolist(), np.split(order, begin[1:]), strict=True))
    for i, resource in enumerate(resources.tolist()):
        for k, kind in enumerate(kinds.tolist()):
            rows = rows_of.get(resource * len(timeline.kind_names) + kind)
            if rows is not None:
                held[i, k] = concurrency(timeline.start[rows], timeline.end[rows], edges)
    return held.clip(min=0.0)


def _figure(names: list[str], centres: Floats, borders: Floats, lanes_in_all: int, note: str) -> Figure:
    graph = optional("plotly.graph_objects")
    per_lane = 26 if lanes_in_all <= 40 else max(3, 1040 // lanes_in_all)
    rows = max(per_lane * lanes_in_all, 15 * len(names) if len(names) <= 100 else 0)
    figure = graph.Figure(layout=style.layout(
        barmode="overlay",
        height=110 + max(60, rows),
        legend={"orientation": "h", "yanchor": "bottom", "y": 1.0, "x": 0, "title": {"text": "kind"}},
        margin={"t": 72 if note else 56},
        xaxis={"title": {"text": "time (s)"}},
        yaxis={"tickvals": centres.tolist(), "ticktext": [style.escape(style.shortened(name, 24)) for name in names], "ticks": "",
               "range": [lanes_in_all - 0.5, -0.5], "showgrid": False},
        shapes=[{"type": "line", "xref": "paper", "x0": 0, "x1": 1, "y0": y, "y1": y, "line": {"color": style.GRID, "width": 1}} for y in borders],
    ))  # fmt: skip
    if note or not names:
        where = {"x": 0, "xanchor": "left", "y": 1, "yanchor": "bottom", "yshift": 34} if note else {"x": 0.5, "y": 0.5}
        figure.add_annotation(text=note or "nothing was scheduled", xref="paper", yref="paper", showarrow=False, **where)
    return figure


def _add_kind(figure: Figure, timeline: Timeline, code: int, *, start: Floats, end: Floats, y: Floats, height: Any, text: list[str]) -> None:
    names = timeline.kind_names
    kind, colour, hatch = names[code], style.colours(names)[names[code]], style.hatches(names)[names[code]]
    figure.add_bar(
        name=style.escape(kind),
        orientation="h",
        base=start,
        x=end - start,
        y=y,
        width=height,
        marker={"color": colour, "line": {"color": colour, "width": 0.5}, "pattern": {"shape": hatch}},
        text=text,
        textposition="none",
        customdata=end,
        hovertemplate="%{text}<br>%{base:.6g} to %{customdata:.6g} s<extra>" + style.escape(kind) + "</extra>",
    )
