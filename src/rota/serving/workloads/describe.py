"""What is in a trace: rate, burstiness, lengths, sessions, reuse; as numbers, as a table, as a picture."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np

from rota.core.errors import optional
from rota.serving.model import Workload
from rota.serving.workloads import stats
from rota.serving.workloads.formats import Reading

if TYPE_CHECKING:
    from rich.table import Table

QUANTILES = (0.01, 0.1, 0.5, 0.9, 0.95, 0.99)


@dataclass(frozen=True)
class Description:
    """Figures of a workload by name and group; times are seconds, lengths tokens. NaN where there is no such figure."""

    name: str
    groups: dict[str, dict[str, float]]
    tenants: dict[str, int] = field(default_factory=dict)
    models: dict[str, int] = field(default_factory=dict)
    left_out: dict[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """As JSON-able values; None for what is not defined."""
        groups = {
            g: {k: v if math.isfinite(v) else None for k, v in figures.items()} for g, figures in self.groups.items()
        }
        return {
            "name": self.name, **groups, "tenants": self.tenants, "models": self.models, "left_out": self.left_out,
            "notes": list(self.notes),
        }  # fmt: skip

    def __rich__(self) -> Table:
        from rich.table import Table

        table = Table("", "figure", "value", title=self.name, title_justify="left")
        for group, figures in self.groups.items():
            shown = {name: value for name, value in figures.items() if not math.isnan(value)}
            for i, (name, value) in enumerate(shown.items()):
                table.add_row("" if i else group, name, _number(value), end_section=i == len(shown) - 1)
        for group in ("tenants", "models", "left_out"):
            counts = getattr(self, group)
            if group == "left_out" or len(counts) > 1:
                for i, (name, count) in enumerate(sorted(counts.items(), key=lambda item: -item[1])[:10]):
                    table.add_row("" if i else group.replace("_", " "), name, f"{count:,}")
        if self.notes:
            table.caption, table.caption_justify = "; ".join(self.notes), "left"
        return table

    def _repr_html_(self) -> str:
        rows = (
            f"<tr><td>{g}</td><td>{k}</td><td>{_number(v)}</td></tr>"
            for g, f in self.groups.items()
            for k, v in f.items()
        )
        return f"<table><caption>{escape(self.name)}</caption>{''.join(rows)}</table>"


def describe(workload: Workload | Reading) -> Description:
    """The figures of a workload, or of what was read from a file together with what the reader left out."""
    reading = workload if isinstance(workload, Reading) else Reading(workload, "")
    w = reading.workload
    groups = {
        "arrivals": _arrivals(w),
        "prompt": _lengths(w.prompt),
        "output": _lengths(w.output),
        "together": {
            "prompt_output_rank": stats.rank_correlation(w.prompt, w.output),
            "tokens_total": float((w.prompt + w.output).sum()),
        },
        "sessions": _sessions(w),
        "prefixes": _prefixes(w),
    }
    shown = {name: figures for name, figures in groups.items() if figures}
    tenants, models = _mix(w.tenants, w.tenant), _mix(w.models, w.model)
    return Description(w.name, shown, tenants, models, dict(reading.left_out), reading.notes)


def figure(workload: Workload, title: str | None = None) -> Any:
    """A plotly figure: requests a second over time, and the distributions of gaps, prompts and outputs."""
    subplots = optional("plotly.subplots")
    graph = optional("plotly.graph_objects")
    fig = subplots.make_subplots(
        rows=2, cols=3, specs=[[{"colspan": 3}, None, None], [{}, {}, {}]], vertical_spacing=0.18,
        subplot_titles=("requests a second", "gaps between arrivals (s)", "prompt (tokens)", "output (tokens)"),
    )  # fmt: skip
    times = stats.arrivals(workload)
    width = _bin_width(workload.duration)
    number = stats.counts(np.append(times, times[-1] + width), width)
    fig.add_trace(graph.Scatter(x=np.arange(len(number)) * width, y=number / width, line_shape="hv", name="rate"), 1, 1)
    for column, values in enumerate((np.diff(times), workload.prompt, workload.output), 1):
        x, share = _survival(values)
        fig.add_trace(graph.Scatter(x=x, y=share, line_shape="hv", line_color="#4c78a8"), 2, column)
    fig.update_xaxes(title_text="time (s)", row=1, col=1)
    fig.update_xaxes(type="log", exponentformat="power", row=2)
    fig.update_yaxes(title_text="share above", row=2, col=1)
    fig.update_yaxes(rangemode="tozero", row=1, col=1)
    return fig.update_layout(title=title or workload.name, template="plotly_white", showlegend=False, height=560)


def _arrivals(w: Workload) -> dict[str, float]:
    times = stats.arrivals(w)
    gaps = np.diff(times)
    minute = stats.counts(np.append(times, times[-1] + 60.0), 60.0)
    return {
        "requests": float(len(w)),
        "duration": w.duration,
        "rate": w.rate,
        "peak_minute_rate": float(minute.max(initial=0) / 60),
        "gap_cv": stats.variation(gaps),
        "gap_max": float(gaps.max(initial=0.0)),
        **{f"fano_{window:g}s": stats.fano(times, window) for window in (1.0, 10.0, 60.0)},
        "autocorrelation_10s": stats.autocorrelation(stats.counts(times, 10.0)),
    }


def _lengths(tokens: np.ndarray) -> dict[str, float]:
    values = np.quantile(tokens, QUANTILES).tolist()
    quantiles = {f"p{100 * q:g}": v for q, v in zip(QUANTILES, values, strict=True)}
    return {"mean": float(tokens.mean()), "cv": stats.variation(tokens), **quantiles, "max": float(tokens.max())}


def _sessions(w: Workload) -> dict[str, float]:
    member = w.session >= 0
    if not member.any():
        return {}
    turns = np.unique(w.session[member], return_counts=True)[1]
    waits = w.parent >= 0
    return {
        "sessions": float(len(turns)),
        "turns_mean": float(turns.mean()),
        "turns_max": float(turns.max()),
        "multi_turn_share": float((turns > 1).mean()),
        "waiting_turns_share": float(waits.mean()),
        "think_mean": float(w.think[waits].mean()) if waits.any() else math.nan,
    }


def _prefixes(w: Workload) -> dict[str, float]:
    if not len(w.prefix_hash):
        return {}
    return {"chunk": float(w.prefix_chunk), "chunks": float(len(w.prefix_hash)), "ideal_reuse": stats.ideal_reuse(w)}


def _mix(names: tuple[str, ...], code: np.ndarray) -> dict[str, int]:
    return dict(zip(names, np.bincount(code, minlength=len(names)).tolist(), strict=True))


def _bin_width(duration: float) -> float:
    return next((width for width in (0.1, 1.0, 10.0, 60.0, 300.0, 900.0) if duration / width <= 400), 3600.0)


def _survival(values: np.ndarray, points: int = 400) -> tuple[np.ndarray, np.ndarray]:
    level = np.unique(np.concatenate([np.linspace(0, 1, points), 1 - np.logspace(-4, -1, 60)]))
    return np.maximum(np.quantile(values, level), 1e-4), 1 - level


def _number(value: float) -> str:
    return f"{value:,.0f}" if value % 1 == 0 or abs(value) >= 1e4 else f"{value:,.4g}"
