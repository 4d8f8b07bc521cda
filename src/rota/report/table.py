"""A comparison as a table in the terminal."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import TYPE_CHECKING

from rota.core.results import Results
from rota.report.comparison import Comparison, Estimate, Row, compare
from rota.report.metrics import Metric, number, percent

if TYPE_CHECKING:
    from rich.table import Table

CAPTION = (
    "mean ± half of the 95 % interval over seeds; * best of its group; below: paired difference from the baseline (b)"
)
NAME_WIDTH, FIGURE_WIDTH = 22, 18
"""Columns of the terminal that a name and a figure take, with their borders."""


def comparison(results: Results, metrics: Iterable[str] | None = None, baseline: str | None = None) -> Table:
    """A rich table: a row a choice; mean and 95 % interval of each metric, the best marked, difference from a baseline.

    Arguments and errors are those of `rota.report.comparison.compare`.
    """
    return render(compare(results, metrics, baseline))


def render(compared: Comparison, width: int | None = None) -> Table:
    """The rich table of a comparison. Labels that are the same in every row stand in the title.

    Args:
        compared: what to show.
        width: columns of the terminal; metrics that would not fit are left out, and the caption says so. None for all.
    """
    from rich.markup import escape
    from rich.table import Table

    varying = compared.varying
    room = len(compared.metrics) if width is None else max(1, (width - NAME_WIDTH) // FIGURE_WIDTH)
    metrics = compared.metrics[:room]
    caption = "; ".join([CAPTION, *_left_out(compared.metrics[room:])])
    table = Table(
        title=escape(compared.constant) or None, caption=caption, caption_justify="left", title_justify="left"
    )
    table.add_column(escape(compared.choice_name), overflow="fold")
    for metric in metrics:
        table.add_column(f"{escape(metric.name.replace('_', ' '))}\n[dim]{escape(metric.unit)}[/]", justify="right")
    for group, rows in groupby(compared.rows, lambda row: row.group):
        if varying:
            table.add_section()
            table.add_row(f"[bold]{escape(', '.join(group[i] for i in varying))}[/]")
        for row in rows:
            mark = " [dim](b)[/]" if row.is_baseline else ""
            table.add_row(escape(row.choice) + mark, *_cells(row, metrics))
    return table


def _left_out(metrics: Sequence[Metric]) -> list[str]:
    from rich.markup import escape

    return [f"not shown for want of room: {escape(', '.join(metric.name for metric in metrics))}"] if metrics else []


def _cells(row: Row, metrics: Iterable[Metric]) -> list[str]:
    return [_cell(row.figures[metric.name], metric) for metric in metrics]


def _cell(figure: Estimate, metric: Metric) -> str:
    spread = (figure.high - figure.low) / 2
    value = number(figure.mean) + (f" [dim]±{number(spread, like=figure.mean)}[/]" if math.isfinite(spread) else "")
    value = f"[bold]{value} *[/]" if figure.best else f"{value}  "
    against = figure.difference
    if against is None:
        return value
    spread = (against.high - against.low) / 2
    text = percent(against.mean) + (f" ±{100 * spread:.0f}" if math.isfinite(spread) else "")
    return f"{value}\n[{_tone(figure, metric)}]{text}[/]  "


def _tone(figure: Estimate, metric: Metric) -> str:
    against = figure.difference
    if against is None or not against.clear or metric.better is None:
        return "dim"
    return "green" if (against.mean < 0) == (metric.better == "lower") else "red"
