"""A comparison as a table in the terminal."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING

from rota.core.results import Results
from rota.report.comparison import Comparison, Figure, Row, compare
from rota.report.metrics import Metric, number

if TYPE_CHECKING:
    from rich.table import Table

CAPTION = "mean ± half of the 95 % interval over seeds; * best of its group; second line: paired difference from the baseline (b)"


def comparison(results: Results, metrics: Iterable[str] | None = None, baseline: str | None = None) -> Table:
    """A rich table: one row a choice, mean and 95 % interval of each metric, the best marked, differences from a baseline.

    Arguments and errors are those of `rota.report.comparison.compare`.
    """
    return render(compare(results, metrics, baseline))


def render(compared: Comparison) -> Table:
    """The rich table of a comparison."""
    from rich.markup import escape
    from rich.table import Table

    table = Table(caption=CAPTION, caption_justify="left", title_justify="left")
    for name in (*compared.group_names, compared.choice_name):
        table.add_column(escape(name), overflow="fold")
    for metric in compared.metrics:
        table.add_column(f"{escape(metric.label)}\n[dim]{escape(metric.unit)}[/]", justify="right", overflow="fold")
    before: tuple[str, ...] = ()
    for row in compared.rows:
        if row.group != before and before:
            table.add_section()
        group = [escape(name) if row.group != before else "" for name in row.group]
        table.add_row(*group, escape(row.choice) + (" [dim](b)[/]" if row.is_baseline else ""), *_cells(row, compared.metrics))
        before = row.group
    return table


def _cells(row: Row, metrics: Iterable[Metric]) -> list[str]:
    return [_cell(row.figures[metric.name], metric) for metric in metrics]


def _cell(figure: Figure, metric: Metric) -> str:
    spread = (figure.high - figure.low) / 2
    value = number(figure.mean) + (f" [dim]±{number(spread)}[/]" if math.isfinite(spread) else "")
    value = f"[bold]{value} *[/]" if figure.best else f"{value}  "
    against = figure.difference
    if against is None:
        return value
    spread = (against.high - against.low) / 2
    text = f"{percent(against.mean)}" + (f" ±{100 * spread:.0f}" if math.isfinite(spread) else "")
    return f"{value}\n[{_tone(figure, metric)}]{text}[/]  "


def percent(share: float) -> str:
    """`-0.123` -> `−12 %`; a factor (`×14`) where the change is more than tenfold."""
    if share >= 9:
        return f"×{share + 1:.0f}"
    return f"{100 * share:+.0f} %".replace("-", "−")


def _tone(figure: Figure, metric: Metric) -> str:
    against = figure.difference
    if against is None or not against.clear or metric.better is None:
        return "dim"
    return "green" if (against.mean < 0) == (metric.better == "lower") else "red"
