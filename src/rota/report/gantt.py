"""A timeline as a picture: bars while they can be told apart, and how much went on at once when they cannot."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from rota.core.errors import optional
from rota.core.timeline import Timeline
from rota.report import style
from rota.report.lanes import Floats, Ints, clipped, held, lane_counts, lanes

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

LANES = 400
"""Most lanes that are drawn as bars; more could not be told apart on a screen."""
STRIPS = 60
"""Most resources that are drawn as strips."""
STRETCHES = (24, 400)
"""Fewest and most stretches of time that a strip is cut into."""


def gantt(timeline: Timeline, max_rows: int = 4000, *, window: tuple[float, float] | None = None) -> Figure:
    """A Plotly figure of a timeline: resources downward, time to the right, one colour a kind.

    Up to `max_rows` rows every row is a bar, and tasks that overlap on a resource get lanes of their own. Beyond that
    each resource becomes a strip that shows how many tasks of each kind it held at each time; a note in the figure says
    so. The figure never has many more than `max_rows` bars.

    Args:
        timeline: any timeline.
        max_rows: how many bars the figure may have.
        window: (from, to) in the timeline's unit of time; rows outside are left out, rows across are cut.
    """
    shown = timeline if window is None else clipped(timeline, *window)
    if len(shown) <= max_rows:
        lane = lanes(shown)
        if int(lane_counts(shown, lane).sum()) <= LANES:
            return _bars(shown, lane)
    return _strips(shown, max_rows)


def _bars(timeline: Timeline, lane: Ints) -> Figure:
    counts = lane_counts(timeline, lane)
    top = np.cumsum(counts) - counts
    used = np.flatnonzero(counts)
    names = [timeline.resource_names[r] for r in used.tolist()]
    note = "" if len(timeline) else "nothing was scheduled"
    figure = _figure(names, (top + (counts - 1.0) / 2)[used], top[used].astype(float) - 0.5, int(counts.sum()), note)
    for code in np.unique(timeline.kind).tolist():
        rows = np.flatnonzero(timeline.kind == code)
        text = [style.escape(timeline.task_names[t]) for t in timeline.task[rows].tolist()]
        spans = (timeline.start[rows], timeline.end[rows])
        _add_kind(figure, timeline.kind_names, code, spans, top[timeline.resource[rows]] + lane[rows], 0.86, text)
    return figure


def _strips(timeline: Timeline, max_rows: int) -> Figure:
    kinds, shown = np.unique(timeline.kind), _busiest_resources(timeline, max_rows)
    stretches = int(np.clip(max_rows // (len(shown) * len(kinds)), *STRETCHES))
    first, last = timeline.span
    edges = np.linspace(first, last if last > first else first + 1.0, stretches + 1)
    at_once = held(timeline, shown, kinds, edges)
    full = float(at_once.sum(axis=1).max()) or 1.0
    height = 0.9 * at_once / full
    middle = np.arange(len(shown))[:, None, None] + 0.45 - np.cumsum(height, axis=1) + height / 2
    names = [timeline.resource_names[r] for r in shown.tolist()]
    places = np.arange(len(shown), dtype=float)
    figure = _figure(names, places, places - 0.5, len(shown), _strips_note(timeline, len(shown), full))
    for k, code in enumerate(kinds.tolist()):
        r, s = np.nonzero(height[:, k] > 0.002)
        text = [f"{value:.3g} at once" for value in at_once[r, k, s].tolist()]
        _add_kind(figure, timeline.kind_names, code, (edges[s], edges[s + 1]), middle[r, k, s], height[r, k, s], text)
    return figure


def _busiest_resources(timeline: Timeline, max_rows: int) -> Ints:
    """As many resources as leave room for the fewest stretches each: those with the most work, in their own order."""
    used = np.unique(timeline.resource)
    work = np.bincount(timeline.resource, timeline.end - timeline.start, len(timeline.resource_names))
    room = max(1, min(max_rows // (STRETCHES[0] * len(np.unique(timeline.kind))), STRIPS))
    return np.sort(used[np.argsort(-work[used], kind="stable")[:room]])


def _strips_note(timeline: Timeline, shown: int, full: float) -> str:
    used = len(np.unique(timeline.resource))
    left_out = f"; the {shown} busiest of {used} resources" if shown < used else ""
    return f"{len(timeline):,} rows summed up: height is tasks held at once, a full strip is {full:.3g}{left_out}"


def _figure(names: Sequence[str], centres: Floats, borders: Floats, lanes_in_all: int, note: str) -> Figure:
    """Empty lanes: `names` of resources at `centres`, thin lines at `borders`."""
    each = 40 if lanes_in_all <= 24 else 26 if lanes_in_all <= 40 else max(3, 1040 // lanes_in_all)
    rows = {
        "tickvals": centres.tolist(),
        "ticktext": [style.label(name, 24) for name in names],
        "ticks": "",
        "range": [max(lanes_in_all, 1) - 0.5, -0.5],
        "showgrid": False,
    }
    layout = style.layout(
        barmode="overlay",
        height=134 + max(60, each * lanes_in_all),
        legend={"orientation": "h", "yanchor": "bottom", "y": 1.0, "x": 0, "title": {"text": "kind"}},
        margin={"t": 80},
        xaxis={"title": {"text": "time (s)"}},
        yaxis=rows,
    )
    figure = optional("plotly.graph_objects").Figure(layout=layout)
    line = {"type": "line", "xref": "paper", "x0": 0, "x1": 1, "line": {"color": style.GRID, "width": 1}}
    figure.update_layout(shapes=[{**line, "y0": y, "y1": y} for y in borders.tolist()])
    if note:
        where = {"xref": "paper", "yref": "paper", "x": 0, "xanchor": "left", "y": 1, "yanchor": "bottom", "yshift": 36}
        figure.add_annotation(text=note, showarrow=False, **where)
    return figure


def _add_kind(
    figure: Figure,
    kinds: Sequence[str],
    code: int,
    spans: tuple[Floats, Floats],
    y: Any,
    height: Any,
    text: Sequence[str],
) -> None:
    kind, colour = style.label(kinds[code]), style.colours(kinds)[kinds[code]]
    pattern = {"shape": style.hatches(kinds)[kinds[code]]}
    figure.add_bar(
        name=kind,
        orientation="h",
        base=spans[0],
        x=spans[1] - spans[0],
        y=np.asarray(y, dtype=float),
        width=height,
        marker={"color": colour, "line": {"color": colour, "width": 0.5}, "pattern": pattern},
        text=text,
        textposition="none",
        customdata=spans[1],
        hovertemplate="%{text}<br>%{base:.6g} to %{customdata:.6g} s<extra>" + kind + "</extra>",
    )
