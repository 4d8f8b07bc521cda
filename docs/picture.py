"""Draw the picture of the README: the study that comes with Rota, its tail latencies with 95 % intervals.

    python docs/picture.py [docs/assets/compare.png]

It runs the whole study (about a minute), and needs the extras `report` and `dev` and a Chromium.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from plotly.subplots import make_subplots

import rota
from rota.core.results import Results
from rota.core.results import Row as Outcome
from rota.core.stats import Interval, log_ratio_interval
from rota.report import style
from rota.report.comparison import grouped

METRIC = "ttft_p99"
CAPTION = "P99 time to first token, seconds, log scale: five seeds (small dots), their geometric mean, 95 % interval"
WIDTH, HEIGHT = 920, 330
DARK_INK = "#1c2430"


def figure(results: Results) -> Any:
    """One panel a workload, one row a set of policies: every seed as a small dot, geometric mean and interval over them."""
    groups = grouped(results)
    chart = make_subplots(rows=1, cols=len(groups), shared_yaxes=True, horizontal_spacing=0.04)
    chart.update_layout(
        style.layout(width=WIDTH, height=HEIGHT, showlegend=False, margin={"l": 16, "r": 24, "t": 64, "b": 56}),
        paper_bgcolor="white", plot_bgcolor="white", font={"size": 14, "color": DARK_INK},
        title={"text": f"<b>{results.name}</b>, {next(iter(groups))[1]}, simulated", "x": 0.012, "y": 0.965},
    )  # fmt: skip
    for column, (group, choices) in enumerate(groups.items(), 1):
        _panel(chart, column, group[0], choices)
    rows = len(next(iter(groups.values())))
    line = {"showline": True, "linecolor": style.GRID, "gridcolor": style.GRID, "zeroline": False, "ticks": ""}
    chart.update_xaxes(**line, type="log", range=[-0.3, 3.0], tickvals=[1, 10, 100, 1000])
    chart.update_yaxes(**line, range=[rows - 0.5, -0.5], showgrid=False, automargin=True)
    chart.add_annotation(
        text=CAPTION, xref="paper", yref="paper", x=1, y=0, yshift=-24, xanchor="right", yanchor="top", showarrow=False, font={"size": 12.5},
    )  # fmt: skip
    return chart


def _panel(chart: Any, column: int, title: str, choices: Mapping[str, Sequence[Outcome]]) -> None:
    place = {"row": 1, "col": column}
    paint = style.colours(choices)
    for y, (choice, rows) in enumerate(choices.items()):
        values = [row.metrics[METRIC] for row in rows]
        mean = log_ratio_interval(values, np.ones(len(values)))
        faint = {"size": 6, "color": paint[choice], "opacity": 0.45}
        chart.add_scatter(x=values, y=[y + 0.24] * len(values), mode="markers", marker=faint, **place)
        chart.add_scatter(**_estimate(mean, y, paint[choice]), **place)
        chart.add_annotation(
            text=f"{mean.value:.3g} s", x=np.log10(mean.value), y=y, yshift=15, showarrow=False, **place
        )
    chart.update_yaxes(tickvals=list(range(len(choices))), ticktext=list(choices), **place)
    middle = {"xref": "x domain", "yref": "y domain", "x": 0.5, "y": 1.0, "yanchor": "bottom", "showarrow": False}
    chart.add_annotation(text=title, font={"size": 14}, **middle, **place)


def _estimate(mean: Interval, y: float, colour: str) -> dict[str, Any]:
    reach = {"symmetric": False, "array": [mean.high - mean.value], "arrayminus": [mean.value - mean.low]}
    return {
        "x": [mean.value], "y": [y], "mode": "markers", "marker": {"size": 13, "color": colour},
        "error_x": {**reach, "thickness": 2.5, "width": 6, "color": colour},
    }  # fmt: skip


def draw(chart: Any, path: Path) -> None:
    """Render a figure to a PNG in a headless browser, without a network."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        context = browser.new_context(viewport={"width": WIDTH, "height": HEIGHT}, device_scale_factor=2, offline=True)
        page = context.new_page()
        page.set_content(chart.to_html(include_plotlyjs=True, config={"staticPlot": True}))
        page.locator(".main-svg").first.wait_for()
        path.parent.mkdir(exist_ok=True)
        page.locator(".plotly-graph-div").screenshot(path=path)
        browser.close()


if __name__ == "__main__":
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "assets" / "compare.png"
    draw(figure(rota.compare()), target)
    print(f"written: {target}")
