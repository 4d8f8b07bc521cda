"""Charts of a study, one group (workload and fleet) at a time: intervals, distributions, load over time."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from rota.core.errors import optional
from rota.core.results import Row as Outcome
from rota.report import style
from rota.report.comparison import Row
from rota.report.metrics import Metric, describe, number

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

Floats = NDArray[np.float64]
Outcomes = Mapping[str, Sequence[Outcome]]

POINTS = 160
"""Points of a drawn curve."""
QUANTILES = (0.5, 0.9, 0.99, 0.999, 0.9999)


def forest(rows: Sequence[Row], metric: Metric) -> Figure:
    """Mean and 95 % interval of one metric for each choice of a group; the baseline's mean as a dotted line.

    Args:
        rows: the choices of one group, from `comparison.compare`.
        metric: which of their figures.
    """
    graph = optional("plotly.graph_objects")
    figures = [row.figures[metric.name] for row in rows]
    paint = style.colours(row.choice for row in rows)
    figure = graph.Figure(layout=style.layout(
        height=96 + 44 * len(rows),
        showlegend=False,
        xaxis={"title": {"text": style.escape(metric.title)}, "rangemode": "tozero"},
        yaxis={"tickvals": list(range(len(rows))), "ticktext": [_label(row.choice) for row in rows], "autorange": "reversed", "showgrid": False, "ticks": ""},
        margin={"t": 16},
    ))  # fmt: skip
    reach = [f.high - f.mean if math.isfinite(f.high) else 0.0 for f in figures]
    figure.add_scatter(
        x=[f.mean for f in figures],
        y=list(range(len(rows))),
        error_x={"array": reach, "thickness": 2, "width": 6, "color": style.INK},
        mode="markers+text",
        marker={"size": 12, "color": [paint[row.choice] for row in rows], "symbol": ["diamond" if f.best else "circle" for f in figures]},
        text=[number(f.mean) for f in figures],
        textposition="top center",
        hovertext=[_interval(row, metric) for row in rows],
        hoverinfo="text",
    )
    for held in (f.mean for row, f in zip(rows, figures, strict=True) if row.is_baseline and math.isfinite(f.mean)):
        figure.add_vline(x=held, line={"dash": "dot", "color": style.INK, "width": 1})
    return figure


def distribution(outcomes: Outcomes, curve: str) -> Figure:
    """Cumulative distribution of a latency for each choice: the mean over seeds, and a band from the least to the most.

    Seconds run on a log axis; the share of requests runs on an axis of nines, so that P99 and P99.9 have room.

    Args:
        outcomes: rows of the results by choice.
        curve: name of a curve with x in seconds and y the share of requests at or below x, e.g. `ttft`.
    """
    drawn = {choice: found for choice, rows in outcomes.items() if (found := _seeds(rows, curve))}
    top = max((_deepest(curves) for curves in drawn.values()), default=1.0)
    ticks = [q for q in QUANTILES if nines(q) <= top * 1.05]
    figure = optional("plotly.graph_objects").Figure(layout=style.layout(
        height=360,
        showlegend=False,
        xaxis={"title": {"text": f"{describe(curve).title}"}, "type": "log", "dtick": 1, "exponentformat": "none"},
        yaxis={"title": {"text": "share of requests at or below"}, "tickvals": [0, *map(nines, ticks)],
               "ticktext": ["0 %", *(f"{100 * q:g} %" for q in ticks)], "range": [0, top * 1.08]},
        margin={"t": 16},
    ))  # fmt: skip
    paint, dash = style.colours(outcomes), style.dashes(outcomes)
    middles: dict[str, tuple[Floats, Floats]] = {}
    for choice, curves in drawn.items():
        x = _log_grid(curves)
        shares = np.array([np.interp(np.log(x), np.log(cx), cy, left=0.0) for cx, cy in curves])
        low, mean, high = (nines(np.minimum(s, 1 - 10**-top)) for s in (shares.min(0), shares.mean(0), shares.max(0)))
        _band(figure, x, low, high, paint[choice])
        _line(figure, choice, x, mean, paint[choice], dash[choice], [f"{100 * s:.4g} % within {number(v)} s" for s, v in zip(shares.mean(0), x, strict=True)])
        middles[choice] = (x, mean)
    _label_curves(figure, middles, top)
    return figure


def over_time(outcomes: Outcomes, curve: str, title: str) -> Figure:
    """A quantity over time, one strip a choice on common axes; the first seed in colour, others behind it in grey.

    Args:
        outcomes: rows of the results by choice.
        curve: name of a curve with x the time in seconds, e.g. `running`.
        title: what the vertical axis shows, with its unit.
    """
    drawn = {choice: found for choice, rows in outcomes.items() if (found := _seeds(rows, curve))}
    paint = style.colours(outcomes)
    count = max(len(drawn), 1)
    figure = optional("plotly.subplots").make_subplots(rows=count, cols=1, shared_xaxes=True, shared_yaxes="all", vertical_spacing=min(0.06, 0.3 / count))
    figure.update_layout(style.layout(height=80 + 88 * count, showlegend=False, margin={"t": 24}))
    figure.update_xaxes(gridcolor=style.GRID, zeroline=False)
    figure.update_yaxes(gridcolor=style.GRID, zeroline=False, rangemode="tozero", nticks=4, automargin=True)
    for row, (choice, curves) in enumerate(drawn.items(), start=1):
        for number_, (x, y) in reversed(list(enumerate(curves[:5]))):
            x, y = _thinned(x, y)
            ink = {"color": paint[choice], "width": 1.6} if number_ == 0 else {"color": style.GRID, "width": 1}
            figure.add_scatter(x=x, y=y, mode="lines", line={**ink, "shape": "hv"}, name=_label(choice), row=row, col=1,
                               hoverinfo="skip" if number_ else "all", hovertemplate=None if number_ else "%{y:.4g} at %{x:.4g} s")  # fmt: skip
        figure.add_annotation(text=f"<b>{_label(choice)}</b>", xref="x domain", yref="y domain", x=0, y=1, yanchor="bottom", showarrow=False, row=row, col=1)
    figure.update_xaxes(title_text="time (s)", row=count, col=1)
    figure.update_yaxes(title_text=title, row=(count + 1) // 2, col=1)
    return figure


def nines(share: Any) -> Any:
    """Minus the logarithm of what is left: 0.9 -> 1, 0.99 -> 2."""
    return -np.log10(1.0 - np.asarray(share, dtype=float))


def _seeds(rows: Sequence[Outcome], curve: str) -> list[tuple[Floats, Floats]]:
    """The curve of each seed that has it, as arrays without NaN; for a distribution, x is made positive."""
    found = []
    for row in rows:
        points = row.curves.get(curve)
        if points and len(points["x"]):
            x, y = np.asarray(points["x"], dtype=float), np.asarray(points["y"], dtype=float)
            good = np.isfinite(x) & np.isfinite(y)
            found.append((x[good], y[good]))
    return [(x, y) for x, y in found if len(x)]


def _log_grid(curves: list[tuple[Floats, Floats]]) -> Floats:
    """A grid even in the logarithm, and dense where the tail is; x of 0 is taken for the least positive x."""
    for x, _ in curves:
        positive = x[x > 0]
        np.maximum(x, positive.min() if len(positive) else 1e-6, out=x)
    first, last = min(x.min() for x, _ in curves), max(x.max() for x, _ in curves)
    even = np.geomspace(first, last if last > first else first * 1.01, POINTS // 2)
    steps = np.concatenate([np.interp(np.linspace(0, 1, POINTS // 2), y, x) for x, y in curves[:1]])
    return np.unique(np.concatenate([even, steps]))


def _deepest(curves: list[tuple[Floats, Floats]]) -> float:
    """How many nines the curves reach before they end in 1."""
    below = [y[y < 1.0 - 1e-9].max(initial=0.9) for _, y in curves]
    return float(nines(min(max(below), 0.99999)))


def _band(figure: Figure, x: Floats, low: Floats, high: Floats, colour: str) -> None:
    figure.add_scatter(
        x=np.concatenate([x, x[::-1]]),
        y=np.concatenate([low, high[::-1]]),
        fill="toself",
        fillcolor=colour,
        opacity=0.18,
        line={"width": 0},
        hoverinfo="skip",
        mode="lines",
    )


def _line(figure: Figure, name: str, x: Floats, y: Floats, colour: str, dash: str, hover: list[str]) -> None:
    figure.add_scatter(
        x=x, y=y, mode="lines", name=_label(name), line={"color": colour, "width": 2, "dash": dash}, text=hover, hovertemplate="%{text}"
    )


def _label_curves(figure: Figure, curves: Mapping[str, tuple[Floats, Floats]], top: float) -> None:
    """Names beside their curves, at heights of their own; left of the faster half, right of the slower half."""
    order = sorted(curves, key=lambda choice: float(np.interp(0.5, curves[choice][1], curves[choice][0])))
    for place, choice in enumerate(order):
        level = top * (0.88 - 0.72 * place / max(len(order) - 1, 1))
        x = float(np.interp(level, curves[choice][1], curves[choice][0]))
        left = place < len(order) / 2
        figure.add_annotation(text=_label(choice), x=math.log10(x), y=level, showarrow=True, arrowhead=0, arrowwidth=1, arrowcolor=style.INK,
                              ax=-14 if left else 14, ay=0, xanchor="right" if left else "left", font={"size": 12})  # fmt: skip


def _thinned(x: Floats, y: Floats) -> tuple[Floats, Floats]:
    """At most POINTS points: the greatest of each stretch, so that peaks stay."""
    if len(x) <= POINTS:
        return x, y
    cuts = np.linspace(0, len(x), POINTS + 1).astype(int)[:-1]
    return x[cuts], np.maximum.reduceat(y, cuts)


def _label(name: str) -> str:
    return style.escape(style.shortened(name))


def _interval(row: Row, metric: Metric) -> str:
    figure = row.figures[metric.name]
    bounds = f"95 % interval {number(figure.low)} to {number(figure.high)}" if math.isfinite(figure.low) else "one seed, no interval"
    return f"{style.escape(row.choice)}: {number(figure.mean)} {metric.unit}<br>{bounds}, {figure.n} seeds"
