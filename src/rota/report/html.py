"""One HTML file that holds a study: table, intervals, distributions, load over time, timelines. It loads nothing."""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import Any

from rota.core.atomic import atomic_write
from rota.core.errors import optional
from rota.core.results import Results
from rota.core.timeline import Timeline
from rota.report import charts, style
from rota.report.comparison import Comparison, Estimate, Row, compare, grouped
from rota.report.distribution import distribution
from rota.report.gantt import gantt
from rota.report.lanes import busiest
from rota.report.metrics import Metric, describe, number, percent

DETAIL_ROWS = 1500
"""Bars in the picture of a long run's busiest moment."""
CHARTS = {
    "intervals": (
        "Means with their intervals",
        "Bars are 95 % intervals over seeds; the dotted line is the baseline; a diamond marks the best.",
    ),
    "latency": (
        "Latency distributions",
        "The upper part of the vertical axis is stretched, so that the slowest requests can be read. "
        "Line: mean over seeds; band: from the least to the most of them.",
    ),
    "load": ("Load over time", "In colour the first seed; in grey the others."),
}
TIMELINE = (
    "One run, drawn whole. Drag to zoom, double-click to see all of it again; press a kind in the legend to hide it."
)
LATENCIES = ("ttft", "tpot", "e2e")
LOADS = {"load": "KV cache in use (share)", "running": "requests running", "waiting": "requests waiting"}


def write(
    results: Results,
    path: str | os.PathLike[str],
    *,
    timelines: Mapping[str, Timeline] | None = None,
    metrics: Iterable[str] | None = None,
    baseline: str | None = None,
) -> Path:
    """Write the report of a study: one file, about 5 MB, that opens from disk without a network.

    Args:
        results: of `run_study`.
        path: the file; replaced whole or not at all.
        timelines: runs to draw as Gantt charts, by the label a reader chooses them by.
        metrics: the columns; None for the well-known ones.
        baseline: as in `rota.report.comparison.compare`.

    Returns:
        The path.

    Raises:
        UnknownName: no such metric or baseline.
        MissingExtra: Plotly is not installed.
        InputError: the file cannot be written.
    """
    text = page(results, timelines or {}, compare(results, metrics, baseline))
    with atomic_write(path, "w") as file:
        file.write(text)
    return Path(path)


def page(results: Results, timelines: Mapping[str, Timeline], compared: Comparison) -> str:
    """The report as text."""
    groups, runs = _group_figures(results, compared), _run_figures(timelines)
    sections = [_results(compared), *_charts(list(groups), groups), *_timelines(runs), _manifest(results)]
    return _fill(
        _asset("page.html"),
        title=escape(results.name),
        summary=escape(_summary(results, compared)),
        nav="".join(f'<a href="#{name}">{title}</a>' for name, title, _ in sections),
        sections="\n".join(_section(*section) for section in sections),
        version=escape(str(results.manifest.get("versions", {}).get("rota", ""))),
        css=_asset("page.css"),
        js=_asset("page.js"),
        plotly=optional("plotly.offline").get_plotlyjs(),
        data=_script_json({"groups": groups, "runs": runs, "light": style.LIGHT, "dark": style.DARK, "ink": style.INK}),
    )


def _group_figures(results: Results, compared: Comparison) -> dict[str, dict[str, Any]]:
    """For each group, its figures by slot, as plain JSON values."""
    found: dict[str, dict[str, Any]] = {}
    for group, outcomes in grouped(results).items():
        rows = [row for row in compared.rows if row.group == group]
        there = {curve for of in outcomes.values() for row in of for curve in row.curves}
        figures = {f"metric-{metric.name}": charts.forest(rows, metric) for metric in compared.metrics}
        figures |= {curve: distribution(outcomes, curve) for curve in LATENCIES if curve in there}
        figures |= {curve: charts.over_time(outcomes, curve, title) for curve, title in LOADS.items() if curve in there}
        found[" · ".join(group) or results.name] = {slot: _plain(figure) for slot, figure in figures.items()}
    return found


def _run_figures(timelines: Mapping[str, Timeline]) -> dict[str, dict[str, Any]]:
    """For each run its Gantt chart; a long run has a second one, of its busiest moment."""
    found = {}
    for label, timeline in timelines.items():
        found[label] = {"run": _plain(gantt(timeline))}
        if len(timeline) > DETAIL_ROWS:
            window = busiest(timeline, DETAIL_ROWS)
            found[f"{label}: busiest moment, {window[0]:.4g} to {window[1]:.4g} s"] = {
                "run": _plain(gantt(timeline, window=window))
            }
    return found


Section = tuple[str, str, str]


def _results(compared: Comparison) -> Section:
    names = (*(compared.group_names[i] for i in compared.varying), compared.choice_name)
    head = "".join(f'<th scope="col"><button>{escape(name)}</button></th>' for name in names)
    head += "".join(f'<th scope="col" class="number"><button>{escape(m.title)}</button></th>' for m in compared.metrics)
    body = "".join(_table_row(row, compared) for row in compared.rows)
    caption = (
        "Mean over seeds with its 95 % t-interval. ★ marks the best of its group. Below: the difference from the "
        "baseline, taken seed by seed, with its 95 % interval; coloured where the interval leaves out zero. "
        "Press a heading to sort."
    )
    table = f"<table><caption>{caption}</caption><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    return "results", "Results", f'<div class="scroll" tabindex="0" role="region" aria-label="Results">{table}</div>'


def _table_row(row: Row, compared: Comparison) -> str:
    tag = ' <span class="tag">baseline</span>' if row.is_baseline else ""
    names = "".join(f'<td class="name">{escape(name)}</td>' for name in (row.group[i] for i in compared.varying))
    choice = f'<th scope="row" class="name" data-value="{escape(row.choice)}">{escape(row.choice)}{tag}</th>'
    return f"<tr>{names}{choice}{''.join(_table_cell(row.figures[m.name], m) for m in compared.metrics)}</tr>"


def _table_cell(figure: Estimate, metric: Metric) -> str:
    value = f"{figure.mean!r}" if math.isfinite(figure.mean) else ""
    mean = f'<span class="best">★ {number(figure.mean)}</span>' if figure.best else number(figure.mean)
    bounds = ""
    if math.isfinite(figure.low):
        low, high = (number(bound, like=figure.mean) for bound in (figure.low, figure.high))
        bounds = f"<small>[{low}, {high}]</small>"
    return f'<td class="number" data-value="{value}">{mean}{bounds}{_against(figure, metric)}</td>'


def _against(figure: Estimate, metric: Metric) -> str:
    difference = figure.difference
    if difference is None or not math.isfinite(difference.mean):
        return ""
    tone = ""
    if difference.clear and metric.better:
        tone = "better" if (difference.mean < 0) == (metric.better == "lower") else "worse"
    finite = math.isfinite(difference.low)
    bounds = f" [{percent(difference.low)[:-2]}, {percent(difference.high)[:-2]}]" if finite else ""
    return f'<small class="{tone}">{percent(difference.mean)}{bounds}</small>'


def _charts(names: Sequence[str], groups: Mapping[str, Mapping[str, Any]]) -> list[Section]:
    slots = list(dict.fromkeys(slot for figures in groups.values() for slot in figures))
    pick = _pick("Workload and fleet", "groups", names)
    wanted = {
        "intervals": [slot for slot in slots if slot.startswith("metric-")],
        "latency": [slot for slot in LATENCIES if slot in slots],
        "load": [slot for slot in LOADS if slot in slots],
    }
    return [
        (name, title, f'<p class="note">{note}</p>{pick}<div class="grid">{"".join(map(_chart, wanted[name]))}</div>')
        for name, (title, note) in CHARTS.items()
        if wanted[name]
    ]


def _timelines(runs: Mapping[str, Any]) -> list[Section]:
    if not runs:
        return []
    return [
        ("timeline", "Timeline", f'<p class="note">{TIMELINE}</p>{_pick("Run", "runs", list(runs))}{_chart("run")}')
    ]


def _manifest(results: Results) -> Section:
    shown = {name: value for name, value in results.manifest.items() if name != "cells"}
    items = "".join(f"<dt>{escape(name)}</dt><dd>{escape(_said(value))}</dd>" for name, value in shown.items())
    whole = escape(json.dumps(dict(results.manifest), indent=1, default=str))
    return (
        "manifest",
        "What was run",
        f"<dl>{items}</dl><details><summary>The whole manifest</summary><pre>{whole}</pre></details>",
    )


def _section(name: str, title: str, body: str) -> str:
    return f'<section id="{name}"><h2>{title}</h2>{body}</section>'


def _chart(slot: str) -> str:
    title = (
        "Timeline of the chosen run"
        if slot == "run"
        else LOADS.get(slot) or describe(slot.removeprefix("metric-")).label
    )
    heading = "" if slot == "run" else f"<h3>{escape(title[:1].upper() + title[1:])}</h3>"
    place = f'<div class="chart" role="img" aria-label="{escape(title)}" data-slot="{escape(slot)}"></div>'
    return f"<figure>{heading}{place}</figure>"


def _pick(title: str, figures: str, names: Sequence[str]) -> str:
    options = "".join(f'<option value="{escape(name)}">{escape(name)}</option>' for name in names)
    return f'<label class="pick">{title} <select data-figures="{figures}">{options}</select></label>'


def _summary(results: Results, compared: Comparison) -> str:
    choices = _count(len({row.choice for row in compared.rows}), "choice")
    groups = _count(len({row.group for row in compared.rows}), "combination")
    seeds = _count(len(results.manifest.get("seeds", ())) or 1, "seed")
    over = f" over {groups} of {' and '.join(compared.group_names)}" if compared.group_names else ""
    constant = f" Everywhere: {compared.constant}." if compared.constant else ""
    return f"{choices} of {compared.choice_name}{over}, {seeds} each: {_count(len(results), 'run')}.{constant}"


def _count(number_of: int, what: str) -> str:
    return f"{number_of} {what}{'' if number_of == 1 else 's'}"


def _said(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {inner}" for name, inner in value.items())
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _plain(figure: Any) -> Any:
    """A figure's data and layout, without Plotly's default template (the page brings its own colours)."""
    figure.layout.template = None
    return json.loads(figure.to_json())


def _script_json(value: Any) -> str:
    """JSON that may stand in a script element."""
    return json.dumps(value, separators=(",", ":")).replace("<", "\\u003c")


def _asset(name: str) -> str:
    return files("rota.report").joinpath(name).read_text(encoding="utf-8")


def _fill(template: str, **parts: str) -> str:
    return re.sub(r"@@(\w+)@@", lambda mark: parts[mark[1]], template)
