"""A comparison as a table in the terminal."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING

from rota.core.results import Results
from rota.report.comparison import Comparison, Estimate, Row, compare
from rota.report.metrics import Metric, number, percent

if TYPE_CHECKING:
    from rich.table import Table

CAPTION = (
    "mean ± half of the 95 % interval over seeds; * best of its group; below: paired difference from the baseline (b)"
)


def comparison(results: Results, metrics: Iterable[str] | None = None, baseline: str | None = None) -> Table:
    """A rich table: a row a choice; mean and 95 % interval of each metric, the best marked, difference from a baseline.

    Arguments and errors are those of `rota.report.comparison.compare`.
    """
    return render(compare(results, metrics, baseline))


def render(compared: Comparison) -> Table:
    """The rich table of a comparison. Labels that are the same in every row stand in the title."""
    from rich.markup import escape
    from rich.table import Table

    varying = [i for i in range(len(compared.group_names)) if len({row.group[i] for row in compared.rows}) > 1]
    table = Table(title=_title(compared, varying), caption=CAPTION, caption_justify="left", title_justify="left")
    for name in (*(compared.group_names[i] for i in varying), compared.choice_name):
        table.add_column(escape(name), overflow="fold")
    for metric in compared.metrics:
        table.add_column(f"{escape(metric.name)}\n[dim]{escape(metric.unit)}[/]", justify="right", overflow="fold")
    before: tuple[str, ...] = ()
    for row in compared.rows:
        if row.group != before and before:
            table.add_section()
        group = [escape(row.group[i]) if row.group != before else "" for i in varying]
        mark = " [dim](b)[/]" if row.is_baseline else ""
        table.add_row(*group, escape(row.choice) + mark, *_cells(row, compared.metrics))
        before = row.group
    return table


def _title(compared: Comparison, varying: list[int]) -> str | None:
    from rich.markup import escape

    constant = [i for i in range(len(compared.group_names)) if i not in varying and compared.rows]
    return ", ".join(f"{escape(compared.group_names[i])} {escape(compared.rows[0].group[i])}" for i in constant) or None


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
