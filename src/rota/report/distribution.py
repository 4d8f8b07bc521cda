"""Cumulative distributions of latencies: seconds on a log axis, shares on an axis of nines."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from rota.core.errors import optional
from rota.report import style
from rota.report.charts import POINTS, Curve, Floats, Outcomes, curves_of
from rota.report.metrics import describe, number

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

QUANTILES = (0.5, 0.9, 0.99, 0.999, 0.9999)


def distribution(outcomes: Outcomes, curve: str) -> Figure:
    """Cumulative distribution of a latency for each choice: the mean over seeds, and a band from the least to the most.

    Args:
        outcomes: rows of the results by choice.
        curve: name of a curve with x in seconds and y the share of requests at or below x, e.g. `ttft`.
    """
    drawn = {choice: [_positive(*one) for one in curves] for choice, curves in curves_of(outcomes, curve).items()}
    top = max((_deepest(curves) for curves in drawn.values()), default=1.0)
    figure = _axes(describe(curve).title, [x for curves in drawn.values() for x, _ in curves], top)
    paint, dash = style.colours(outcomes), style.dashes(outcomes)
    lines: dict[str, Curve] = {}
    for choice, curves in drawn.items():
        x, shares = _shares(curves, 1 - 10**-top)
        _band(figure, x, shares, paint[choice])
        _line(figure, choice, x, shares.mean(axis=0), {"color": paint[choice], "width": 2, "dash": dash[choice]})
        lines[choice] = x, nines(shares.mean(axis=0))
    _label_lines(figure, lines, top)
    return figure


def nines(share: Any) -> Any:
    """Minus the logarithm of what is left: 0.9 -> 1, 0.99 -> 2."""
    return -np.log10(1.0 - np.asarray(share, dtype=float))


def _positive(x: Floats, y: Floats) -> Curve:
    """The curve with its zeros moved to the least positive value, since a log axis has no zero."""
    positive = x[x > 0]
    return np.maximum(x, positive.min() if len(positive) else 1e-6), y


def _deepest(curves: Sequence[Curve]) -> float:
    """How many nines the curves reach before they end in 1; at least one, at most five."""
    return float(nines(min(max(y[y < 1 - 1e-9].max(initial=0.9) for _, y in curves), 0.99999)))


def _shares(curves: Sequence[Curve], most: float) -> tuple[Floats, Floats]:
    """A common x, and for each seed the share at or below it, (seeds, x), up to where the mean share is `most`."""
    first, last = min(x.min() for x, _ in curves), max(x.max() for x, _ in curves)
    even = np.geomspace(first, last, POINTS // 2)
    dense = np.interp(1 - 10 ** -np.linspace(0, nines(most), POINTS // 2), curves[0][1], curves[0][0])
    x = np.unique(np.concatenate([even, dense]))
    shares = np.array([np.interp(np.log(x), np.log(cx), cy, left=0.0) for cx, cy in curves])
    shown = shares.mean(axis=0) <= max(most, shares.mean(axis=0)[0])
    return x[shown], np.minimum(shares[:, shown], most)


def _axes(title: str, values: Sequence[Floats], top: float) -> Figure:
    levels = [q for q in QUANTILES if nines(q) <= top * 1.05]
    shares = {
        "title": {"text": "share of requests at or below"},
        "tickvals": [0, *map(nines, levels)],
        "ticktext": ["0 %", *(f"{100 * q:g} %" for q in levels)],
        "range": [0, top * 1.08],
    }
    seconds = {"title": {"text": style.escape(title)}, "type": "log", **_log_ticks(values)}
    layout = style.layout(height=360, showlegend=False, xaxis=seconds, yaxis=shares, margin={"t": 16})
    return optional("plotly.graph_objects").Figure(layout=layout)


def _log_ticks(values: Sequence[Floats]) -> dict[str, Any]:
    """Ticks at every power of ten, and also at 2 and 5 where there are few of them."""
    if not values:
        return {}
    first, last = (math.floor(math.log10(v)) for v in (min(x.min() for x in values), max(x.max() for x in values)))
    digits = {0: (1, 2, 5), 1: (1, 2, 5), 2: (1, 2, 5), 3: (1, 3)}.get(last - first, (1,))
    ticks = [digit * 10.0**power for power in range(first, last + 2) for digit in digits]
    return {"tickvals": ticks, "ticktext": [f"{tick:g}" for tick in ticks]}


def _band(figure: Figure, x: Floats, shares: Floats, colour: str) -> None:
    low, high = nines(shares.min(axis=0)), nines(shares.max(axis=0))
    there_and_back = {"x": np.concatenate([x, x[::-1]]), "y": np.concatenate([low, high[::-1]])}
    fill = {"fill": "toself", "fillcolor": colour, "opacity": 0.18, "line": {"width": 0}}
    figure.add_scatter(**there_and_back, **fill, hoverinfo="skip", mode="lines")


def _line(figure: Figure, name: str, x: Floats, shares: Floats, line: Mapping[str, Any]) -> None:
    hover = [f"{100 * share:.4g} % within {number(seconds)} s" for share, seconds in zip(shares, x, strict=True)]
    template = f"%{{text}}<extra>{style.label(name)}</extra>"
    figure.add_scatter(x=x, y=nines(shares), mode="lines", line=dict(line), text=hover, hovertemplate=template)


def _label_lines(figure: Figure, lines: Mapping[str, Curve], top: float) -> None:
    """Names beside their lines, at heights of their own; left of the faster half, right of the slower half."""
    order = sorted(lines, key=lambda choice: _where(lines[choice], nines(0.5)))
    for place, choice in enumerate(order):
        level = top * (0.88 - 0.72 * place / max(len(order) - 1, 1))
        x = _where(lines[choice], level)
        side = {"ax": -14, "xanchor": "right"} if place < len(order) / 2 else {"ax": 14, "xanchor": "left"}
        leader = {"showarrow": True, "arrowhead": 0, "arrowwidth": 1, "arrowcolor": style.INK, "ay": 0}
        figure.add_annotation(text=style.label(choice), x=math.log10(x), y=level, **leader, **side, font={"size": 12})


def _where(line: Curve, level: float) -> float:
    """The x at which a line that never falls reaches a level."""
    return float(np.interp(level, line[1], line[0]))
