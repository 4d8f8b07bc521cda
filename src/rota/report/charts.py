"""Charts of a study, one group (workload and fleet) at a time: means with intervals, quantities over time."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from rota.core.errors import optional
from rota.core.results import Row as Outcome
from rota.report import style
from rota.report.comparison import Estimate, Row
from rota.report.metrics import Metric, number

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

Floats = NDArray[np.float64]
Outcomes = Mapping[str, Sequence[Outcome]]
Curve = tuple[Floats, Floats]

POINTS = 160
"""Points of a drawn curve."""
SEEDS = 5
"""Most seeds that are drawn one over the other."""


def forest(rows: Sequence[Row], metric: Metric) -> Figure:
    """Mean and 95 % interval of one metric for each choice of a group; the baseline's mean as a dotted line.

    Args:
        rows: the choices of one group, from `comparison.compare`.
        metric: which of their figures.
    """
    figures = [row.figures[metric.name] for row in rows]
    paint = style.colours(row.choice for row in rows)
    figure = _rows_of_names([row.choice for row in rows], metric.title)
    figure.add_scatter(
        x=[f.mean for f in figures],
        y=list(range(len(rows))),
        error_x={"array": [_reach(f) for f in figures], "thickness": 2, "width": 6, "color": style.INK},
        mode="markers",
        marker={
            "size": 12,
            "color": [paint[row.choice] for row in rows],
            "symbol": ["diamond" if f.best else "circle" for f in figures],
        },
        hovertext=[_interval(row, metric) for row in rows],
        hoverinfo="text",
    )
    beside = {"xref": "paper", "x": 1, "xanchor": "left", "xshift": 8, "showarrow": False}
    for place, f in enumerate(figures):
        figure.add_annotation(text=number(f.mean), y=place, **beside)
    for f in (f for row, f in zip(rows, figures, strict=True) if row.is_baseline and math.isfinite(f.mean)):
        figure.add_vline(x=f.mean, line={"dash": "dot", "color": style.INK, "width": 1}, layer="below")
    return figure


def over_time(outcomes: Outcomes, curve: str, title: str) -> Figure:
    """A quantity over time, one strip a choice on common axes; the first seed in colour, others behind it in grey.

    Args:
        outcomes: rows of the results by choice.
        curve: name of a curve with x the time in seconds, e.g. `running`.
        title: what the vertical axis shows, with its unit.
    """
    drawn = curves_of(outcomes, curve)
    count = max(len(drawn), 1)
    figure = optional("plotly.subplots").make_subplots(
        rows=count, cols=1, shared_xaxes=True, shared_yaxes="all", vertical_spacing=min(0.08, 0.3 / count)
    )
    figure.update_layout(style.layout(height=80 + 88 * count, showlegend=False, margin={"t": 24}))
    figure.update_xaxes(gridcolor=style.GRID, zeroline=False)
    figure.update_yaxes(gridcolor=style.GRID, zeroline=False, rangemode="tozero", nticks=4, automargin=True)
    paint = style.colours(outcomes)
    for strip, (choice, curves) in enumerate(drawn.items(), start=1):
        _strip(figure, strip, choice, curves[:SEEDS], paint[choice])
    figure.update_xaxes(title_text="time (s)", row=count, col=1)
    figure.update_yaxes(title_text=style.escape(title), row=(count + 1) // 2, col=1)
    return figure


def curves_of(outcomes: Outcomes, name: str) -> dict[str, list[Curve]]:
    """One curve, as arrays without NaN, for each choice and seed that has it."""
    found: dict[str, list[Curve]] = {}
    for choice, rows in outcomes.items():
        for points in (row.curves[name] for row in rows if name in row.curves):
            x, y = np.asarray(points["x"], dtype=float), np.asarray(points["y"], dtype=float)
            good = np.isfinite(x) & np.isfinite(y)
            if good.any():
                found.setdefault(choice, []).append((x[good], y[good]))
    return found


def thinned(x: Floats, y: Floats, points: int = POINTS) -> Curve:
    """At most `points` points: the greatest y of each stretch, so that peaks stay."""
    if len(x) <= points:
        return x, y
    cuts = np.linspace(0, len(x), points + 1).astype(int)[:-1]
    return x[cuts], np.maximum.reduceat(y, cuts)


def _strip(figure: Figure, strip: int, choice: str, curves: Sequence[Curve], colour: str) -> None:
    quiet = {"line": {"color": style.GRID, "width": 1, "shape": "hv"}, "hoverinfo": "skip"}
    first = {
        "line": {"color": colour, "width": 1.6, "shape": "hv"},
        "hovertemplate": f"%{{y:.4g}} at %{{x:.4g}} s<extra>{style.label(choice)}</extra>",
    }
    for place, curve in reversed(list(enumerate(curves))):
        x, y = thinned(*curve)
        figure.add_scatter(x=x, y=y, mode="lines", **(quiet if place else first), row=strip, col=1)
    corner = {"xref": "x domain", "yref": "y domain", "x": 0, "y": 1, "yanchor": "bottom", "showarrow": False}
    figure.add_annotation(text=f"<b>{style.label(choice)}</b>", **corner, row=strip, col=1)


def _rows_of_names(names: Sequence[str], title: str) -> Figure:
    """An empty figure with one row a name."""
    rows = {
        "tickvals": list(range(len(names))),
        "ticktext": [style.label(name) for name in names],
        "range": [len(names) - 0.6, -0.7],
        "showgrid": False,
        "ticks": "",
    }
    layout = style.layout(
        height=96 + 44 * len(names),
        showlegend=False,
        xaxis={"title": {"text": style.escape(title)}, "rangemode": "tozero"},
        yaxis=rows,
        margin={"t": 8, "r": 64},
    )
    return optional("plotly.graph_objects").Figure(layout=layout)


def _reach(figure: Estimate) -> float:
    return figure.high - figure.mean if math.isfinite(figure.high) else 0.0


def _interval(row: Row, metric: Metric) -> str:
    figure = row.figures[metric.name]
    bounds = "one seed, no interval"
    if math.isfinite(figure.low):
        low, high = number(figure.low, like=figure.mean), number(figure.high, like=figure.mean)
        bounds = f"95 % interval {low} to {high}, {figure.n} seeds"
    return f"{style.escape(row.choice)}: {number(figure.mean)} {metric.unit}<br>{bounds}"
