"""Schedules, drawn."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from rota.core.errors import optional
from rota.training.schedule import Schedule

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

COLOURS = ("#6b87c9", "#8a4b0f", "#13a35b", "#5f3a8e", "#9a8f00", "#006d6d", "#b8336a", "#4a4a4a")
DASHES = ("solid", "dash", "dot", "dashdot")
POINTS = 2000


def figure(schedules: Mapping[str, Schedule], total: int) -> Figure:
    """Factors over the steps of a run, one line a schedule, by name; every step if the run has no more than `POINTS`."""
    go = optional("plotly.graph_objects")
    at = np.arange(total + 1.0) if total <= POINTS else np.linspace(0, total, POINTS)
    drawn = go.Figure()
    for k, (name, schedule) in enumerate(schedules.items()):
        line = {"color": COLOURS[k % len(COLOURS)], "dash": DASHES[k // len(COLOURS) % len(DASHES)], "width": 2}
        drawn.add_scatter(x=at, y=schedule(at, total), name=name, mode="lines", line=line)
    drawn.update_layout(
        template="plotly_white", xaxis_title="step", yaxis_title="factor of the base learning rate",
        yaxis_rangemode="tozero", showlegend=True, legend={"orientation": "h", "y": -0.2}, margin={"l": 60, "r": 20, "t": 30, "b": 60},
    )  # fmt: skip
    return drawn
